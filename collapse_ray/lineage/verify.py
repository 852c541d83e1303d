"""Compare lineages, run through the same code as any other, with the closed forms that they must obey."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from safetensors.numpy import load

from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.evaluate.spec import EvaluateSpec
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.oracles import ORACLES, SAMPLES_PER_GENERATION, Oracle
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.model.family import WEIGHTS, FamilySpec
from collapse_ray.train.execution import RunConfig

GENERATIONS = (1, 2, 5, 10)
"""The first ones show a count that is off by one, the last an error that grows. Few, because each is another test."""

MIN_REPLICAS = 100
"""Below, the mean of a skewed quantity is too far from normal for a z-test. With 100, correct lineages fail for about
4 % of seeds; with 2,000, for about 0.3 %."""

MAX_Z = 4.0
"""A correct lineage exceeds it in 1 of 16,000 tests; all oracles together are 36 tests."""


@dataclass(frozen=True)
class Check:
    """The mean of one quantity over replicas beside its closed form."""

    oracle: str
    quantity: str
    generation: int
    expected: float
    observed: float
    standard_error: float

    @property
    def z(self) -> float:
        """Standard errors between observed and expected."""
        return (self.observed - self.expected) / self.standard_error

    @property
    def verdict(self) -> Literal["agrees", "differs"]:
        return "agrees" if abs(self.z) < MAX_Z else "differs"


def verify(ids: Sequence[str], replicas: int, seed: int) -> list[Check]:
    """Runs the lineage of each oracle in a temporary store and checks it.

    Args:
        ids: oracles of `ORACLES`; all of them where there is none.
        replicas: independent lineages, run side by side as one; at least `MIN_REPLICAS`.
        seed: of all randomness.

    Raises:
        InvalidInput: an unknown oracle, too few replicas, or a negative seed.
    """
    oracles = [_oracle(of) for of in dict.fromkeys(ids or ORACLES)]
    if replicas < MIN_REPLICAS:
        raise InvalidInput(
            f"replicas={replicas}: their mean must be close to normal for a z-test; give at least {MIN_REPLICAS}"
        )
    if seed < 0:
        raise InvalidInput(f"seed={seed}: a seed is an integer of at least 0")
    with tempfile.TemporaryDirectory(prefix="collapse-verify-") as folder:
        # Oracles of the same lineage find it published.
        return [check for oracle in oracles for check in compare(oracle, lineage_of(oracle, replicas, seed), folder)]


def lineage_of(oracle: Oracle, replicas: int, seed: int) -> LineageSpec:
    """The lineage that an oracle speaks of: `replicas` independent copies of one-dimensional Gaussians."""
    n = SAMPLES_PER_GENERATION
    return LineageSpec(
        # One row more than a generation trains on, because a lineage holds out at least one.
        source=SourceSpec.resolve({"kind": "normal", "num_samples": n + 1, "replicas": replicas}),
        holdout_fraction=1 / (n + 1),
        family=FamilySpec.resolve({"kind": "gaussian", "ddof": oracle.ddof}),
        regime=RegimeSpec.resolve({"kind": oracle.regime, "num_samples": n}),
        evaluate=EvaluateSpec(metrics=(MetricSpec.resolve("real_test_loss"),), num_samples=0),
        depth=max(GENERATIONS),
        seed=seed,
    )


def compare(oracle: Oracle, lineage: LineageSpec, folder: str) -> list[Check]:
    """Runs a lineage in the store `folder`, or finds it there, and checks all quantities of the oracle on it."""
    run = RunConfig(store=folder)
    store = Store(folder)
    (progress,) = run_plain(check_all([Experiment(oracle.id, (lineage,), run)], store), run)
    return [check for generation in GENERATIONS for check in _checks(oracle, store, progress.models, generation)]


def _checks(oracle: Oracle, store: Store, models: Sequence[Record], generation: int) -> Iterator[Check]:
    weights = load(store.read("model", models[generation - 1].fingerprint, WEIGHTS))
    mean, variance = weights["mean"].reshape(-1), weights["covariance"].reshape(-1)
    for quantity in oracle.quantities:
        values = quantity.observe(mean, variance, generation, SAMPLES_PER_GENERATION)
        yield Check(
            oracle=oracle.id,
            quantity=quantity.name,
            generation=generation,
            expected=quantity.expected(generation, SAMPLES_PER_GENERATION),
            observed=float(values.mean()),
            standard_error=float(values.std(ddof=1) / math.sqrt(len(values))),
        )


def _oracle(of: str) -> Oracle:
    if of not in ORACLES:
        raise InvalidInput(f"there is no oracle {of!r}; {did_you_mean(of, ORACLES)}")
    return ORACLES[of]
