"""Points drawn independently."""

import math
from collections.abc import Mapping

import numpy as np
from pydantic import Field

from collapse_ray.config.noise import generator
from collapse_ray.config.spec import Json
from collapse_ray.search.axes import Axis
from collapse_ray.search.method import Asked, SearchSpec


class Spec(SearchSpec):
    """Draws points independently: uniform over choices and ranges, or over the logarithm of `log` ranges.

    Point i is a function of (seed, i): more points keep those that there were.
    """

    num_points: int = Field(ge=1)
    """Points; every seed of the sweep runs at each."""
    seed: int = Field(default=0, ge=0)
    """Of the draws; no lineage sees it."""

    def check(self, asked: Asked) -> None:
        pass

    def points(self, axes: Mapping[str, Axis]) -> list[dict[str, Json]]:
        """The points; a combination that is drawn again is left out, so there may be fewer than `num_points`."""
        drawn = [self._point(axes, number) for number in range(self.num_points)]
        return [point for number, point in enumerate(drawn) if point not in drawn[:number]]

    def _point(self, axes: Mapping[str, Axis], number: int) -> dict[str, Json]:
        rng = generator(self.seed, "points", number)
        return {path: _draw(axis, rng) for path, axis in axes.items()}


def _draw(axis: Axis, rng: np.random.Generator) -> Json:
    share = rng.random()
    if axis.range is None:
        return axis.choices[int(share * len(axis.choices))]
    low, high, step = axis.range.low, axis.range.high, axis.range.step
    if axis.whole and not axis.range.log:
        low, high = low - 0.5, high + 0.5  # both ends as likely as what lies between
    number = low * (high / low) ** share if axis.range.log else low + share * (high - low)
    if step is not None:
        number = float(f"{math.floor(number / step + 0.5) * step:.12g}")  # 0.3, not 0.30000000000000004
    return axis.value(min(max(number, axis.range.low), axis.range.high))
