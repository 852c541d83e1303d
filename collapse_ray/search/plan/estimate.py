"""A quantity that is not known yet: a value, an interval, and what they rest on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from scipy.special import stdtrit

from collapse_ray.search.work import at_their_rate

Basis = Literal["records", "similar records", "model"]
"""`records` of the same settings; `similar records`, of the same kind at other settings; a stated `model`."""

BASES: tuple[Basis, ...] = ("records", "similar records", "model")
"""From the firmest to the weakest."""

CONFIDENCE = 0.9
"""Of an interval from records."""

FEW = 5
"""Fewer records than these tell too little of their spread for a t interval: it would span orders of magnitude."""
FEW_FACTOR = 2.0
"""Beyond the slowest and the fastest of few records."""


@dataclass(frozen=True)
class Estimate:
    """A sum is as firm as its weakest part. Intervals are added end to end, as if all parts erred together."""

    value: float
    low: float
    high: float
    basis: Basis

    def __add__(self, other: "Estimate") -> "Estimate":
        basis = _weaker(self.basis, other.basis)
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high, basis)

    def times(self, factor: float) -> "Estimate":
        """As much of it."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.basis)

    def by(self, other: "Estimate") -> "Estimate":
        """The product of two quantities that may err independently: the extremes of both."""
        basis = _weaker(self.basis, other.basis)
        return Estimate(self.value * other.value, self.low * other.low, self.high * other.high, basis)


def _weaker(one: Basis, other: Basis) -> Basis:
    return BASES[max(BASES.index(one), BASES.index(other))]


def total(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """The sum; None where a part of it is not known, 0 of nothing."""
    found = Estimate(0.0, 0.0, 0.0, "records")
    for estimate in estimates:
        if estimate is None:
            return None
        found += estimate
    return found


def rate_of(measured: Sequence[tuple[float, float]], *, widen: float = 1.0, basis: Basis = "records") -> Estimate:
    """Cost of a unit of work, from the costs and amounts of work that was done.

    The value is all cost over all work. The interval is where the rate of one more stage lies with a probability of
    `CONFIDENCE`: a t interval of the logarithms of the stages' rates, exp(±t s sqrt(1 + 1/n)) around the value. It is
    not divided by the number of stages that are planned, since what made records differ (other load, another machine)
    holds for all of them. With fewer than 5 records, or one that cost nothing, it goes from half the smallest rate to
    twice the largest.

    Args:
        measured: cost and amount of each stage; at least one.
        widen: factor on both sides, for records of other settings.
        basis: of the estimate.
    """
    value = at_their_rate(measured, 1.0)
    assert value is not None
    rates = [cost / amount for cost, amount in measured]
    if len(rates) < FEW or min(rates) == 0:
        low, high = min(rates) / FEW_FACTOR, max(rates) * FEW_FACTOR
    else:
        logs = [math.log(rate) for rate in rates]
        t = float(stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2))
        factor = math.exp(t * stdev(logs) * math.sqrt(1 + 1 / len(logs)))
        low, high = value / factor, value * factor
    return Estimate(value, low / widen, high * widen, basis)
