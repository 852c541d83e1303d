"""What a sweep cost, and what it did not: lineages that were stopped early, and artifacts that lineages share."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collapse_ray.artifact.record import Kind
from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.config.payload import Payload
from collapse_ray.data.regime import PoolPlan, RegimeSpec
from collapse_ray.lineage.index import id_of
from collapse_ray.train.spec import TrainSpec

Index = Mapping[str, Any]
"""The index document of a lineage."""

Artifact = tuple[Kind, str]


@dataclass(frozen=True)
class Amount:
    """Joules and seconds of work; None where not one part of it is known."""

    energy_j: float | None
    duration_s: float | None

    @classmethod
    def total(cls, amounts: Iterable["Amount"]) -> "Amount":
        """The sum of what is known."""
        amounts = list(amounts)
        energies = [amount.energy_j for amount in amounts if amount.energy_j is not None]
        durations = [amount.duration_s for amount in amounts if amount.duration_s is not None]
        return cls(sum(energies) if energies else None, sum(durations) if durations else None)

    @classmethod
    def all_of(cls, amounts: Iterable["Amount"]) -> "Amount":
        """The sum, None where a part of it is not known."""
        amounts = list(amounts)
        energies = [amount.energy_j for amount in amounts]
        durations = [amount.duration_s for amount in amounts]
        return cls(
            None if None in energies else sum(filter(None, energies)),
            None if None in durations else sum(filter(None, durations)),
        )

    def times(self, factor: float) -> "Amount":
        """As much of it."""
        return Amount(
            None if self.energy_j is None else self.energy_j * factor,
            None if self.duration_s is None else self.duration_s * factor,
        )


@dataclass(frozen=True)
class StoppedLineage:
    """A lineage that ended before its depth.

    `spent` is what its artifacts cost, those that it shares included. `saved` is estimated: what its missing
    stages would have cost at its own stages' rate, in proportion to the rows trained on and the samples made. It is
    None where a stage that is missing was never measured.
    """

    lineage: str
    generation: int
    spent: Amount
    saved: Amount
    num_unmeasured: int
    """Artifacts without joules: where not 0, `spent` is a lower bound."""

    @property
    def to_depth(self) -> Amount:
        """What it would have cost to its depth; estimated."""
        return Amount.all_of([self.spent, self.saved])


@dataclass(frozen=True)
class SweepCost:
    """What the lineages of a sweep cost together."""

    stopped: tuple[StoppedLineage, ...]
    spent: Amount
    """Of every artifact that a lineage of the sweep is made of, each once; some may have been there before."""
    saved_by_stopping: Amount
    """Estimated: the sum over stopped lineages of what is known."""
    saved_by_sharing: Amount
    """What artifacts of several lineages would have cost if each lineage had made its own."""
    num_shared: int
    """Artifacts of more than one lineage."""
    num_unmeasured: int
    """Artifacts without joules."""


def sweep_cost(store: Store, indices: Iterable[Index], stopped: Iterable[str], depth: int) -> SweepCost:
    """Adds up what a sweep cost.

    Args:
        store: holds the artifacts.
        indices: of the sweep's lineages.
        stopped: the lineages, by id, that were ended before their depth.
        depth: of the sweep.

    Raises:
        StoreError: a record that an index names is missing.
    """
    indices, ended = list(indices), frozenset(stopped)
    costs = _Costs(store)
    uses = Counter(artifact for index in indices for artifact in artifacts_of(index))
    lineages = [
        _stopped_lineage(store, index, depth, costs)
        for index in indices
        if id_of(dict(index)) in ended and len(index["generations"]) < depth
    ]
    shared = {artifact: count - 1 for artifact, count in uses.items() if count > 1}
    return SweepCost(
        stopped=tuple(lineages),
        spent=Amount.total(costs[artifact] for artifact in uses),
        saved_by_stopping=Amount.total(lineage.saved for lineage in lineages),
        saved_by_sharing=Amount.total(costs[artifact].times(count) for artifact, count in shared.items()),
        num_shared=len(shared),
        num_unmeasured=sum(costs[artifact].energy_j is None for artifact in uses),
    )


def amounts_of(store: Store, indices: Iterable[Index]) -> list[Amount]:
    """The cost of every artifact that some lineages are made of, each once."""
    costs = _Costs(store)
    return [costs[artifact] for artifact in {artifact for index in indices for artifact in artifacts_of(index)}]


def artifacts_of(index: Index) -> set[Artifact]:
    """Everything that a lineage is made of, its real data included."""
    found: set[Artifact] = {("samples", index["train_samples"]), ("samples", index["holdout_samples"])}
    for generation in index["generations"]:
        for entry, kind in _STAGES.values():
            if generation[entry] is not None:
                found.add((kind, generation[entry]))
    return found


_STAGES: dict[str, tuple[str, Kind]] = {
    "train": ("model", "model"),
    "evaluate": ("evaluation", "evaluation"),
    "generate": ("samples", "samples"),
}
"""Each stage, where an index names its artifact, and the artifact's kind."""


class _Costs(dict[Artifact, Amount]):
    """The cost of artifacts, each read once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, artifact: Artifact) -> Amount:
        energy = self._store.energy(*artifact)
        self[artifact] = Amount(None if energy is None else energy.energy_j, self._store.record(*artifact).duration_s)
        return self[artifact]


def _stopped_lineage(store: Store, index: Index, depth: int, costs: _Costs) -> StoppedLineage:
    own = [costs[artifact] for artifact in artifacts_of(index)]
    work = _Work(store, index)
    saved = [_missing(index, stage, depth, work, costs) for stage in _STAGES]
    return StoppedLineage(
        lineage=id_of(dict(index)),
        generation=len(index["generations"]),
        spent=Amount.total(own),
        saved=Amount.all_of(saved),
        num_unmeasured=sum(amount.energy_j is None for amount in own),
    )


def _missing(index: Index, stage: str, depth: int, work: "_Work", costs: _Costs) -> Amount:
    """What the generations that were not reached would have cost in one stage."""
    entry, kind = _STAGES[stage]
    done = {each["generation"]: each[entry] for each in index["generations"] if each[entry] is not None}
    # Nobody samples the last generation: none trains on its samples.
    last = depth - 1 if stage == "generate" else depth
    amount_of: Callable[[int], float] = getattr(work, stage)
    missing = sum(amount_of(generation) for generation in range(1, last + 1) if generation not in done)
    if not missing:
        return Amount(0.0, 0.0)
    measured = [(costs[kind, of], amount_of(generation)) for generation, of in done.items()]
    return Amount(
        _extrapolated([(cost.energy_j, amount) for cost, amount in measured], missing),
        _extrapolated([(cost.duration_s, amount) for cost, amount in measured], missing),
    )


def _extrapolated(measured: list[tuple[float | None, float]], missing: float) -> float | None:
    """Cost of the missing work at the rate of what was measured."""
    known = [(cost, amount) for cost, amount in measured if cost is not None]
    amount = sum(amount for _, amount in known)
    return sum(cost for cost, _ in known) / amount * missing if amount else None


class _Work:
    """How much there is to do in each stage of each generation of a lineage, in a unit of the stage's own."""

    def __init__(self, store: Store, index: Index) -> None:
        identity, samples = index["identity"], store.record("samples", index["train_samples"]).realised
        payload = Payload.from_json(samples["payload"])
        self._regime = RegimeSpec.resolve(identity["regime"])
        self._seed = identity["seed"]
        self._num_real = samples["num_samples"]
        self._train = None if identity["train"] is None else validate(TrainSpec, identity["train"], id_of(dict(index)))
        self._tokens = payload.size if payload.kind == "tokens" else None

    def train(self, generation: int) -> float:
        """Optimiser steps; rows, where there are none."""
        num_rows = self._plan(generation).num_rows
        return num_rows if self._train is None else self._train.num_steps(num_rows, self._tokens)

    def evaluate(self, generation: int) -> float:
        """The same in every generation."""
        return 1.0

    def generate(self, generation: int) -> float:
        """Samples."""
        return self._regime.num_to_generate(generation=generation, num_real=self._num_real)

    def _plan(self, generation: int) -> PoolPlan:
        return self._regime.plan(seed=self._seed, generation=generation, num_real=self._num_real)
