"""The rule that makes generation t's pool, as a pure function."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Json

Origin = Literal["real", "synthetic"]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one generation's samples: generation 0 is the real data.

    `rows` are distinct row numbers in ascending order, int64 (N,).
    """

    generation: int
    rows: np.ndarray

    @property
    def origin(self) -> Origin:
        return "real" if self.generation == 0 else "synthetic"


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """Exactly the rows that a generation may train on.

    `real_weight` is the share of the loss given to real rows where the regime sets it; None weighs every row alike.
    """

    parts: tuple[Part, ...]
    asked_real_fraction: float | None = None
    real_weight: float | None = None

    @cached_property
    def num_real(self) -> int:
        return sum(len(part.rows) for part in self.parts if part.origin == "real")

    @cached_property
    def num_rows(self) -> int:
        return sum(len(part.rows) for part in self.parts)

    @property
    def num_synthetic(self) -> int:
        return self.num_rows - self.num_real

    @property
    def realised_real_fraction(self) -> float:
        """Counted after rounding."""
        return self.num_real / self.num_rows

    def identity(self) -> list[Json]:
        """A short form that determines the plan: generation, count and digest of each part's rows."""
        parts: list[Json] = [
            [part.generation, len(part.rows), hashlib.sha256(part.rows.astype("<i8").tobytes()).hexdigest()[:32]]
            for part in self.parts
        ]
        return [*parts, self.real_weight]


class RegimeSpec(Plugin):
    """One rule of reference literature; what is held fixed is in its fields."""

    folder: ClassVar[str] = "collapse_ray.data.regimes"

    @abstractmethod
    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        """The pool of `generation` >= 1; a pure function of its arguments.

        Generation 1 is planned on real rows only, and does not depend on any mixing ratio.

        Args:
            seed: the lineage's seed.
            generation: the generation that will train on the pool.
            num_real: rows of real training data available.
        """

    @abstractmethod
    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        """Samples that generation `generation` must make for the pools after it."""

    @abstractmethod
    def check(self, *, num_real: int, depth: int) -> None:
        """Refuses what can be known to fail before anything starts.

        Raises:
            InvalidInput: too few real rows, a depth the regime does not have, ...
        """
