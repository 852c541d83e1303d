"""Where a series will be at depth T, with an honest uncertainty.

The models of `dynamics` are averaged over, each with the weight that the lineages near this one give it, and their
common scale s is integrated out. What no model knows of, e.g. a collapse that sets in suddenly after a healthy stretch,
shows in lineages that went to the depth: forecasts are compared with what came, moved by the mean error and widened
where the errors were larger than announced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from scipy.stats import t as student

from collapse_ray.search.frontier.dynamics import Dynamics, thinned
from collapse_ray.search.frontier.record import Lineage

MIN_POINTS = 3
"""Two responses fix a level and a drift; the third is the first that can be wrong."""

NEIGHBOURHOOD = 0.15
"""Standard deviation, in units of an axis, of the weight that a lineage has for a forecast elsewhere."""

SHARED = 0.25
"""Prior correlation of the forecast errors of two lineages: a model that is wrong is wrong for all in the same way."""

MAX_EVIDENCE = float(__import__("os").environ.get("CAP", "30"))
"""One-step errors that all other lineages together count for: every model is an approximation, and none is to win only
because there are many of them."""

PRIOR_COUNT = 4.0
"""Errors of the announced size that the observed ones are averaged with."""


@dataclass(frozen=True)
class Forecast:
    """The margin at depth T.

    `sd` is the error of this lineage alone, `shared_sd` that which all forecasts of the arm have in common; `dof` are
    the degrees of freedom of the Student distribution.
    """

    mean: float
    sd: float
    shared_sd: float
    dof: float

    @property
    def survives(self) -> float:
        """Probability that the lineage is healthy at depth T."""
        error = float(np.hypot(self.sd, self.shared_sd))
        return float(student.cdf(self.mean / error, self.dof)) if error else float(self.mean >= 0)


class _Pool:
    """What ended lineages say of the models at one place: M sums over them, weighted by nearness."""

    def __init__(self, near: np.ndarray, counts: np.ndarray, squares: np.ndarray, log_scales: np.ndarray) -> None:
        total = float(near @ counts)
        near = near * min(1.0, MAX_EVIDENCE / max(total, 1.0))
        self.count = min(total, MAX_EVIDENCE)
        self.squares = near @ squares
        self.log_scales = near @ log_scales


class Forecaster:
    """Forecasts for the lineages of one arm, taught by those that have ended.

    Of each of N lineages it keeps the place, and the number, squares and log standard deviations of its one-step errors
    under each of M models; of each of R that went to the depth also the errors (R, T, M) and the spreads (R, T, M) of
    the forecasts that would have been made after each generation.
    """

    def __init__(self, depth: int) -> None:
        self.dynamics = Dynamics(depth)
        self._units: list[tuple[float, ...]] = []
        self._counts: list[int] = []
        self._squares: list[np.ndarray] = []
        self._log_scales: list[np.ndarray] = []
        self._steps: list[float] = []
        self._rehearsed: list[tuple[float, ...]] = []
        self._errors = np.empty((0, depth, len(self.dynamics)))
        self._spreads = np.empty((0, depth, len(self.dynamics)))
        self._pools: dict[tuple[float, ...], _Pool] = {}

    @property
    def num_rehearsals(self) -> int:
        """Lineages that forecasts were compared with."""
        return len(self._rehearsed)

    def learn(self, lineage: Lineage) -> None:
        """Takes a lineage that has ended, once."""
        if len(lineage.margins) < MIN_POINTS:
            return
        generations, series = _points(lineage)
        self._pools.clear()
        self._units.append(lineage.unit)
        squares, log_scales = self.dynamics.innovations(generations, series)
        self._counts.append(len(series) - 2)
        self._squares.append(squares)
        self._log_scales.append(log_scales)
        self._steps.append(_step(series))
        if self.dynamics.depth in lineage.margins and len(series) > MIN_POINTS:
            self._rehearsed.append(lineage.unit)
            errors, spreads = self._rehearse(generations, series)
            self._errors = np.concatenate([self._errors, errors[None]])
            self._spreads = np.concatenate([self._spreads, spreads[None]])

    def forecast(self, lineage: Lineage) -> Forecast | None:
        """None before there are `MIN_POINTS` responses."""
        if self.dynamics.depth in lineage.margins:
            return Forecast(lineage.margins[self.dynamics.depth], 0.0, 0.0, np.inf)
        if len(lineage.margins) < MIN_POINTS:
            return None
        generations, series = _points(lineage)
        weights, scale, dof = self._posterior(lineage.unit, generations, series)
        means = self.dynamics.predict(generations, series)
        mean = float(weights @ means)
        variance = float(weights @ (scale * self.dynamics.spread(generations) + (means - mean) ** 2))
        bias, own, shared = self._calibrated(lineage.unit, int(generations[-1]), variance, weights, scale)
        return Forecast(mean + bias, own**0.5, shared**0.5, dof)

    def error(self, unit: tuple[float, ...], generations: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Standard deviations that forecasts are expected to have at a place, made after each of generations (P,).

        Returns:
            The lineage's own (P,), and the shared one (P,) if no lineage had gone to the depth; None before any series
            has ended.
        """
        if not self._units:
            return None
        weights, scale, _ = self._posterior(unit, np.empty(0, dtype=int), np.empty(0))
        own, shared = np.empty(len(generations)), np.empty(len(generations))
        for index, generation in enumerate(generations):
            points = np.arange(1, generation + 1)
            variance = float(weights @ (scale * self.dynamics.spread(points[thinned(points)])))
            own[index] = self._calibrated(unit, int(generation), variance, weights, scale)[1] ** 0.5
            shared[index] = (SHARED * variance) ** 0.5
        return own, shared

    def _posterior(
        self, unit: tuple[float, ...], generations: np.ndarray, series: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Weights (M,) of the models, mean of s^2 under each (M,), and degrees of freedom; the series may be empty."""
        pool, steps = self._pool(unit), self._steps
        count, squares, log_scales = pool.count, pool.squares, pool.log_scales
        if len(series):
            own_squares, own_log_scales = self.dynamics.innovations(generations, series)
            count, squares, log_scales = (count + len(series) - 2, squares + own_squares, log_scales + own_log_scales)
            steps = [*steps, _step(series)]
        # An inverse gamma prior on s^2 that weighs as much as one step of typical size.
        prior = max(float(np.median(steps)), np.finfo(float).tiny)
        weights = softmax(-log_scales - (1 + count) / 2 * np.log(prior + squares))
        return weights, (prior + squares) / max(count - 1, 0.5), 1.0 + count

    def _pool(self, unit: tuple[float, ...]) -> _Pool:
        if unit not in self._pools:
            shape = (len(self._units), len(self.dynamics))
            self._pools[unit] = _Pool(
                _nearness(unit, self._units),
                np.array(self._counts),
                np.reshape(self._squares, shape),
                np.reshape(self._log_scales, shape),
            )
        return self._pools[unit]

    def _calibrated(
        self, unit: tuple[float, ...], generation: int, variance: float, weights: np.ndarray, scale: np.ndarray
    ) -> tuple[float, float, float]:
        """Bias, own variance and shared variance of forecasts made after `generation`, from the rehearsals."""
        near = _nearness(unit, self._rehearsed)
        errors, spreads = self._errors[:, generation - 1], self._spreads[:, generation - 1]
        error = errors @ weights
        announced = (scale * spreads + (errors - error[:, None]) ** 2) @ weights
        count = float(near.sum())
        bias = float(near @ error) / (count + (1 - SHARED) / SHARED)
        shared = SHARED * variance / (1 + count * SHARED / (1 - SHARED))
        squares = (error - bias) ** 2 / ((1 - SHARED) * np.maximum(announced, np.finfo(float).tiny))
        widening = max(1.0, (PRIOR_COUNT + float(near @ squares)) / (PRIOR_COUNT + count))
        return bias, widening * (1 - SHARED) * variance, widening * shared

    def _rehearse(self, generations: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors (T, M) and spreads (T, M) of the forecasts after each generation; at first, the first one."""
        counts = np.maximum(
            np.searchsorted(generations, np.arange(1, self.dynamics.depth + 1), side="right"), MIN_POINTS
        )
        counts = np.minimum(counts, len(series) - 1)  # of the depth itself no forecast is made
        seen = {count: generations[:count] for count in np.unique(counts)}
        errors = {count: series[-1] - self.dynamics.predict(seen[count], series[:count]) for count in seen}
        return np.stack([errors[count] for count in counts]), np.stack(
            [self.dynamics.spread(seen[count]) for count in counts]
        )


def _points(lineage: Lineage) -> tuple[np.ndarray, np.ndarray]:
    kept = thinned(lineage.generations)
    return lineage.generations[kept], lineage.series[kept]


def _step(series: np.ndarray) -> float:
    """Median squared change from one response to the next."""
    return float(np.median(np.diff(series) ** 2))


def _nearness(unit: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Weight of each of N others at a place: (N,), 1 for one that lies there."""
    places = np.reshape(others, (len(others), len(unit)))
    return np.exp(-0.5 * (((places - np.array(unit)) / NEIGHBOURHOOD) ** 2).sum(1))
