"""What is known of each lineage of a search: plain values that are saved and restored as they are."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from collapse_ray.search.frontier.problem import Arm

Ending = Literal["depth", "stopped", "collapsed", "survived", "diverged", "failed"]
"""Why a lineage ended: it reached the depth; it was stopped before; a verdict decided (`collapsed`, `survived`); its
response was not a number; it failed, which says nothing about its health."""


@dataclass
class Lineage:
    """One lineage: where it lies, its series so far, and how it ended (None while it runs)."""

    key: str
    arm: Arm
    values: tuple[float, ...]
    unit: tuple[float, ...]
    seed: int
    margins: dict[int, float] = field(default_factory=dict)
    """Generation -> signed distance of the response from the threshold, healthy side positive; all finite."""
    costs: dict[int, float] = field(default_factory=dict)
    """Generation -> joules or seconds, where measured."""
    reached: int = 0
    """The deepest generation reported, with or without a response."""
    ending: Ending | None = None

    @property
    def generations(self) -> np.ndarray:
        """Generations with a response, ascending, (G,)."""
        return np.array(sorted(self.margins), dtype=int)

    @property
    def series(self) -> np.ndarray:
        """Margins at `generations`, (G,)."""
        return np.array([self.margins[generation] for generation in sorted(self.margins)])

    @property
    def cost(self) -> float:
        """Measured so far."""
        return math.fsum(self.costs.values())

    def side(self) -> Literal[-1, 0, 1]:
        """+1 or -1 where only the outcome is known: it survived or collapsed; 0 where it is not."""
        if self.ending == "survived":
            return 1
        return -1 if self.ending in {"collapsed", "diverged"} else 0
