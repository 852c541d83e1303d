"""What a frontier search is asked: over which axes, to which depth, how precisely, and for how much."""

import math
from collections.abc import Callable
from itertools import product
from typing import Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from collapse_ray.config.spec import Spec

Category: TypeAlias = str | int | float | bool
Arm: TypeAlias = tuple[tuple[str, Category], ...]
"""A choice for every categorical axis: paths and values, in the order of the spec."""


class NumericAxis(Spec):
    """A field of the lineage that takes any value of a range."""

    path: str
    """The field, e.g. `regime.real_fraction`."""
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    scale: Literal["linear", "log"] = "linear"
    """On which the axis is even; `log` where the effect of a change is in proportion to the value."""
    step: float | None = Field(default=None, gt=0)
    """Only multiples of it are run and reported, e.g. 1 / num_samples where a finer fraction makes the same pool."""
    report_at: tuple[float, ...] | None = Field(default=None, min_length=1)
    """For axes other than the fraction: where the frontier is asked; at the lowest and highest value where absent."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}; give low < high")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low={self.low} has no logarithm; give low > 0, or scale=linear")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step={self.step} exceeds the range of {self.high - self.low}; give a smaller step")
        outside = [value for value in self.report_at or () if not self.low <= value <= self.high]
        if outside:
            raise ValueError(f"report_at={outside[0]} is outside [{self.low}, {self.high}]; give values inside")
        return self

    @property
    def asked(self) -> tuple[float, ...]:
        """Where the frontier is asked."""
        return (self.low, self.high) if self.report_at is None else self.report_at

    def unit(self, value: float) -> float:
        """The place of a value in [0, 1]."""
        low, high = self._even(self.low), self._even(self.high)
        return (self._even(value) - low) / (high - low)

    def value(self, unit: float) -> float:
        """The nearest value that can be run at a place in [0, 1]."""
        return self._runnable(unit, lambda steps: math.floor(steps + 0.5))

    def at_or_above(self, unit: float) -> float:
        """The smallest value that can be run no lower than a place in [0, 1]."""
        return self._runnable(unit, lambda steps: math.ceil(steps - 1e-9))

    def _runnable(self, unit: float, to_whole: Callable[[float], int]) -> float:
        low, high = self._even(self.low), self._even(self.high)
        value = low + unit * (high - low)
        if self.scale == "log":
            value = math.exp(value)
        if self.step is not None:
            # Twelve digits: 0.3, not 0.30000000000000004.
            value = float(f"{to_whole(value / self.step) * self.step:.12g}")
        return min(max(value, self.low), self.high)

    def _even(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value


class Budget(Spec):
    """What a search may spend; it proposes nothing more once any of them is reached."""

    trials: int | None = Field(default=None, ge=1)
    """Lineages."""
    generations: int | None = Field(default=None, ge=1)
    """Generations, summed over lineages."""
    cost: float | None = Field(default=None, gt=0)
    """Joules, or seconds: the unit in which generations report their cost."""


class FrontierSpec(Spec):
    """For each arm (a choice of all categorical axes), the smallest fraction that survives to `depth`."""

    fraction: NumericAxis
    """The axis on which the frontier lies. More of it is taken to be healthier; what says otherwise is reported."""
    others: tuple[NumericAxis, ...] = ()
    """Further numeric axes: the frontier is a function of them, asked at their `report_at`."""
    categories: dict[str, tuple[Category, ...]] = Field(default={})
    """Categorical axes: paths and choices. Each combination is an arm with a frontier of its own."""
    depth: int = Field(ge=2)
    """T: the generation at which a lineage must be healthy."""
    threshold: float
    """A lineage survives when its response at `depth` is on the healthy side of this."""
    healthy: Literal["above", "below"] = "above"
    """The healthy side: `above` for e.g. a variance ratio, `below` for a loss."""
    response_scale: Literal["linear", "log"] = "linear"
    """`log` for a response that is positive and shrinks or grows by factors."""
    survival: float = Field(default=0.5, gt=0, lt=1)
    """Share of lineages that must survive: seeds differ, and the frontier is where this share does."""
    precision: float = Field(gt=0)
    """Asked width of the interval, in units of the fraction."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Posterior probability of the interval."""
    budget: Budget = Budget()
    seed: int = Field(default=0, ge=0)
    """Of the search's own draws, and of the first lineage: those of an arm have the seeds `seed`, `seed + 1`, ..."""

    @model_validator(mode="after")
    def _can_be_answered(self) -> Self:
        paths = [axis.path for axis in (self.fraction, *self.others)] + list(self.categories)
        repeated = sorted({path for path in paths if paths.count(path) > 1})
        if repeated:
            raise ValueError(f"the axis {repeated[0]!r} is given more than once; keep one")
        empty = [path for path, choices in self.categories.items() if not choices]
        if empty:
            raise ValueError(f"categories.{empty[0]} has no choice; give at least one, or leave the axis out")
        if self.response_scale == "log" and self.threshold <= 0:
            raise ValueError(f"threshold={self.threshold} has no logarithm; give one above 0, or response_scale=linear")
        width = self.fraction.high - self.fraction.low
        if self.precision >= width:
            raise ValueError(f"precision={self.precision} is known beforehand: the range is {width}; ask for less")
        if self.fraction.step is not None and self.precision < self.fraction.step:
            raise ValueError(
                f"precision={self.precision} is finer than fraction.step={self.fraction.step}; ask for at least a step"
            )
        return self

    @property
    def axes(self) -> tuple[NumericAxis, ...]:
        """The numeric axes; the fraction is the first."""
        return (self.fraction, *self.others)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All combinations of the categorical axes; one empty arm where there are none."""
        pairs = [[(path, choice) for choice in choices] for path, choices in self.categories.items()]
        return tuple(product(*pairs))

    @property
    def asked(self) -> tuple[tuple[float, ...], ...]:
        """Values of the other axes at which the frontier is asked: (,) alone where there are none."""
        return tuple(product(*(axis.asked for axis in self.others)))

    def unit(self, values: tuple[float, ...]) -> np.ndarray:
        """Values on all numeric axes -> their place in the unit cube, (D,)."""
        return np.array([axis.unit(value) for axis, value in zip(self.axes, values, strict=True)])

    def values(self, unit: np.ndarray) -> tuple[float, ...]:
        """The nearest values that can be run at a place in the unit cube, (D,)."""
        return tuple(axis.value(float(place)) for axis, place in zip(self.axes, unit, strict=True))

    def margin(self, response: float) -> float:
        """How far a response is on the healthy side of the threshold; not finite where the lineage has diverged."""
        if self.response_scale == "log":
            log = math.log(response) if response > 0 else (-math.inf if response == 0 else math.nan)
            distance = log - math.log(self.threshold)
        else:
            distance = response - self.threshold
        return distance if self.healthy == "above" else -distance
