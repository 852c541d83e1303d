"""How much there is to do in each stage of a lineage, and what it costs at the rate of work that was done."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.config.payload import Payload
from collapse_ray.data.regime import PoolPlan, RegimeSpec
from collapse_ray.lineage.index import id_of
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.train.spec import TrainSpec

Index = Mapping[str, Any]
"""The index document of a lineage."""


class Work:
    """The stages of each generation of a lineage, in a unit of each stage's own."""

    def __init__(
        self, regime: RegimeSpec, train: TrainSpec | None, *, seed: int, num_real: int, payload: Payload
    ) -> None:
        self._regime, self._train, self._seed, self._num_real = regime, train, seed, num_real
        self._tokens = payload.size if payload.kind == "tokens" else None

    @classmethod
    def of_index(cls, store: Store, index: Index) -> Self:
        """Of a lineage that ran."""
        identity, samples = index["identity"], store.record("samples", index["train_samples"]).realised
        train = None if identity["train"] is None else validate(TrainSpec, identity["train"], id_of(dict(index)))
        payload = Payload.from_json(samples["payload"])
        regime = RegimeSpec.resolve(identity["regime"])
        return cls(regime, train, seed=identity["seed"], num_real=samples["num_samples"], payload=payload)

    @classmethod
    def of_lineage(cls, lineage: LineageSpec, prepared: Prepared) -> Self:
        """Of a lineage that may run."""
        num_real, payload = prepared.train.num_samples, prepared.payload
        return cls(lineage.regime, lineage.train, seed=lineage.seed, num_real=num_real, payload=payload)

    def of(self, stage: str, generation: int) -> float:
        """The work of `train`, `evaluate` or `generate` in one generation."""
        return {"train": self.train, "evaluate": self.evaluate, "generate": self.generate}[stage](generation)

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


def at_their_rate(measured: Iterable[tuple[float | None, float]], amount: float) -> float | None:
    """Cost of an amount of work at the rate of what was measured: costs and amounts; None where nothing was."""
    known = [(cost, done) for cost, done in measured if cost is not None]
    done = sum(done for _, done in known)
    return sum(cost for cost, _ in known) / done * amount if done else None
