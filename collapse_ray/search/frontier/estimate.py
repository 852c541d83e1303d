"""The frontier as it is reported: an interval, whether it lies outside the axis, and whether there is one at all."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from collapse_ray.search.frontier.curve import Observations
from collapse_ray.search.frontier.problem import Arm, NumericAxis

GROUP = 4
MAX_GROUPS = 20
"""Neighbouring lineages whose mean is one point of the test for a fall, and the most points."""

WIDENED = 1.1
"""Intervals are taken as much wider than the posterior's, about its median. One looks after every lineage and stops
when the interval is narrow, which favours data that look more precise than they are."""

NUM_NULL = 999
"""Draws from the null hypothesis: the smallest p-value is one in a thousand."""


@dataclass(frozen=True)
class Frontier:
    """The smallest fraction that survives to the depth, in one arm and at one place of the other axes.

    `lower` and `upper` are the ends of the interval, `estimate` the posterior median. `lower` is null where even the
    lowest fraction may survive, `upper` where even the highest may not, and so is `estimate`. `censored` says that with
    the asked confidence: all survive, and the frontier is the lowest fraction or less; or none survives.
    """

    arm: Arm
    at: tuple[float, ...]
    estimate: float | None
    lower: float | None
    upper: float | None
    width: float
    """Length of the interval within the axis."""
    censored: Literal["all_survive", "none_survives"] | None
    num_lineages: int
    """Lineages that told something."""
    precise: bool
    """Whether the width is as asked, from enough lineages."""
    fall_p_value: float
    """Of the hypothesis that more of the fraction is no worse; where it is small, one fraction does not describe the
    arm, and the interval is not to be trusted."""


@dataclass(frozen=True)
class Interval:
    """Equal tails of draws of the frontier: fractions, with the nulls of `Frontier`."""

    estimate: float | None
    lower: float | None
    upper: float | None
    width: float
    censored: Literal["all_survive", "none_survives"] | None


def interval_of(axis: NumericAxis, confidence: float, places: np.ndarray) -> Interval:
    """Of draws of the frontier on the unit axis (R,): at 0 or below all survive, above 1 none does."""
    tail = (1 - confidence) / 2
    quantiles = np.quantile(places, [tail, 0.5, 1 - tail], method="inverted_cdf")
    levels = [float(level) for level in quantiles[1] + WIDENED * (quantiles - quantiles[1])]
    # The fraction itself: the smallest that can be run at or above a place.
    lower = None if levels[0] <= 0 else axis.at_or_above(min(levels[0], 1.0))
    estimate = None if levels[1] > 1 else axis.at_or_above(max(levels[1], 0.0))
    upper = None if levels[2] > 1 else axis.at_or_above(max(levels[2], 0.0))
    censored: Literal["all_survive", "none_survives"] | None = None
    if np.mean(places <= 0) >= confidence:
        censored = "all_survive"
    elif np.mean(places > 1) >= confidence:
        censored = "none_survives"
    width = (axis.high if upper is None else upper) - (axis.low if lower is None else lower)
    return Interval(estimate, lower, upper, width, censored)


def falls(observations: Observations, window: float, rng: np.random.Generator) -> float:
    """The p-value of the hypothesis that lineages fare no worse at higher fractions.

    Responses, taken into the window (outcomes alone count as its ends), are averaged in groups of neighbours, and the
    squared distance of the means from the nearest rising sequence is compared with what noise alone makes of a flat
    one: the likelihood-ratio test of Bartholomew (1959), at its least favourable null. 1 where there are too few
    lineages to tell.
    """
    num_groups = min(len(observations) // GROUP, MAX_GROUPS)
    if num_groups < 2:
        return 1.0
    edge = window if np.isfinite(window) else 1.0
    values = np.where(observations.sides == 0, np.clip(observations.values, -edge, edge), observations.sides * edge)
    groups = np.array_split(values[np.argsort(observations.units[:, 0], kind="stable")], num_groups)
    sizes = np.array([len(group) for group in groups])
    scatter = sum(((group - group.mean()) ** 2).sum() for group in groups) / (len(values) - num_groups)
    if scatter == 0:
        return float(np.all(np.diff([group.mean() for group in groups]) >= 0))
    means = np.array([[group.mean() for group in groups]])
    flat = rng.standard_normal((NUM_NULL, num_groups)) / np.sqrt(sizes)
    observed = _falls(means / np.sqrt(scatter), sizes)
    return float((1 + (_falls(flat, sizes) >= observed).sum()) / (1 + NUM_NULL))


def _falls(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted squared distance of each of R sequences of means (R, G) from the nearest rising one, (R,).

    By the max-min formula (Robertson, Wright and Dykstra 1988): the rising sequence at i is the largest over a <= i of
    the smallest over b >= i of the weighted mean of a..b.
    """
    sums = np.pad(np.cumsum(weights * means, axis=1), ((0, 0), (1, 0)))
    totals = np.pad(np.cumsum(weights), (1, 0))
    first, last = np.indices((len(weights), len(weights)))
    between = np.where(first <= last, totals[last + 1] - totals[first], 1.0)
    averages = np.where(first <= last, (sums[:, last + 1] - sums[:, first]) / between, np.inf)
    smallest = np.minimum.accumulate(averages[:, :, ::-1], axis=2)[:, :, ::-1]
    rising = np.where(first <= last, smallest, -np.inf).max(axis=1)
    return ((means - rising) ** 2) @ weights
