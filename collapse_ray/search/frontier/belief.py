"""All that is believed of one arm, once some of its lineages have ended."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from collapse_ray.config.noise import generator
from collapse_ray.search.frontier.acquire import Prospects, expected_responses
from collapse_ray.search.frontier.cost import CostModel
from collapse_ray.search.frontier.curve import Observations, fit
from collapse_ray.search.frontier.depth import DepthPlan, cheapest
from collapse_ray.search.frontier.estimate import Frontier, Interval, falls, interval_of
from collapse_ray.search.frontier.forecast import MIN_POINTS, NEIGHBOURHOOD, Forecaster
from collapse_ray.search.frontier.problem import Arm, FrontierSpec
from collapse_ray.search.frontier.record import Lineage

GRID = 101
"""Places along the fraction at which a lineage may be run."""

MIN_LINEAGES = 20
MIN_VALUES = 10
"""An interval is not believed before as many lineages told something, and as many of them a value near the threshold
(where there are values)."""

NUM_ELSEWHERE = 256
"""Places at which a lineage may be run where there is more than one numeric axis."""

NUM_CURVES = 500
"""Draws of the curve that the choice of a place looks at."""

MAX_DEPTHS = 12
"""Depths, evenly spread in logarithms, among which the depth to follow lineages to is chosen."""


def observe(lineages: Sequence[Lineage], forecaster: Forecaster) -> tuple[Observations, list[Lineage]] | None:
    """What ended lineages tell of the margin at the depth, and which of them tell anything; None if none does."""
    rows, telling = [], []
    for lineage in lineages:
        if side := lineage.side():
            row = (0.0, 0.0, 0.0, side)
        elif lineage.ending in {"depth", "stopped"} and (forecast := forecaster.forecast(lineage)):
            row = (forecast.mean, forecast.sd, forecast.shared_sd, 0)
        else:
            continue
        rows.append((*row, *lineage.unit))
        telling.append(lineage)
    if not rows:
        return None
    table = np.array(rows, dtype=float)
    return Observations(table[:, 4:], table[:, 0], table[:, 1], table[:, 2], table[:, 3]), telling


class Belief:
    """The posterior of one arm's frontier, and what follows from it: a function of the ended lineages."""

    def __init__(
        self,
        spec: FrontierSpec,
        arm: Arm,
        told: tuple[Observations, list[Lineage]],
        forecaster: Forecaster,
        costs: CostModel,
    ) -> None:
        self.spec = spec
        self.arm = arm
        self.observations, self._telling = told
        self._forecaster = forecaster
        self._costs = costs
        self._asked = np.array(
            [[axis.unit(value) for axis, value in zip(spec.others, at, strict=True)] for at in spec.asked]
        ).reshape(len(spec.asked), len(spec.others))
        self._fit = fit(self.observations, self._generator("curve"))
        self.draws = self._fit.curves.frontier(self._asked, float(ndtri(spec.survival)))
        """Places of the frontier at each asked value of the other axes, on the unit axis, (R, A)."""

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Of the frontier at each asked value of the other axes."""
        return tuple(interval_of(self.spec.fraction, self.spec.confidence, places) for places in self.draws.T)

    @property
    def width(self) -> float:
        """The widest interval of the asked ones."""
        return max(interval.width for interval in self.intervals)

    @property
    def is_precise(self) -> bool:
        """Whether all asked intervals are as narrow as asked, and there are lineages enough to believe them."""
        enough = len(self.observations) >= MIN_LINEAGES and not 0 < self._fit.num_values < MIN_VALUES
        return enough and self.width <= self.spec.precision

    @cached_property
    def frontiers(self) -> tuple[Frontier, ...]:
        """What is reported: the frontier at each asked value of the other axes."""
        p_value = falls(self.observations, self._fit.window, self._generator("falls"))
        count = len(self.observations)
        return tuple(
            Frontier(
                self.arm, at, **asdict(interval), num_lineages=count, precise=self.is_precise, fall_p_value=p_value
            )
            for at, interval in zip(self.spec.asked, self.intervals, strict=True)
        )

    @cached_property
    def plan(self) -> DepthPlan:
        """How deep to follow lineages near the frontier."""
        depth = self.spec.depth
        if depth <= MIN_POINTS or self.width == 0:
            return DepthPlan(depth, 0)
        generations = np.unique(np.geomspace(MIN_POINTS, depth - 1, MAX_DEPTHS).astype(int))
        errors = self._forecaster.error(tuple(self._centre), generations)
        if errors is None:
            return DepthPlan(depth, 0)
        # So many standard deviations wide is the interval, and k / s is what one of m is worth on the axis.
        sds = 2 * ndtri((1 + self.spec.confidence) / 2)
        target = (self._unit_precision / sds * self._s / self._k) ** 2
        costs = self._costs.per_generation(self.arm, self._centre[None], depth)[0]
        return cheapest(*errors, generations, self._s, target, costs)

    def width_once_ended(self, running: np.ndarray) -> float:
        """The width to expect when the running lineages at places (K, D) have ended."""
        prospects = self._prospects(running)
        return self.width * float(np.max(prospects.after_running / prospects.before)) ** 0.5

    def best_place(self, running: np.ndarray) -> tuple[np.ndarray, float]:
        """Where one more lineage lowers the variance of the frontier most per expected cost, and by how much.

        Args:
            running: places of lineages that have not ended, (K, D); they count as if they had.

        Returns:
            A place (D,) and its score.
        """
        scores = self._prospects(running).gains / self._expected_costs
        best = int(np.argmax(scores))
        return self._places[best], float(scores[best])

    def nearness(self, unit: Sequence[float]) -> float:
        """How much a lineage tells of forecasts at the frontier: 1 on it."""
        distance = np.abs(unit[0] - np.clip(np.median(self.draws, axis=0), 0, 1)).min()
        return float(np.exp(-0.5 * (distance / NEIGHBOURHOOD) ** 2))

    def _prospects(self, running: np.ndarray) -> Prospects:
        window = self._fit.window / self._s
        widening = 1.0
        if self.plan.generations < self.spec.depth:
            errors = self._forecaster.error(tuple(self._centre), np.array([self.plan.generations]))
            widening = float(np.hypot(1, errors[0][0] / self._s)) if errors else 1.0
        means, variances = expected_responses(self._curves_at_places, widening, min(window, 1e6))
        positions = [int(np.argmin(((self._places - unit) ** 2).sum(1))) for unit in running]
        return Prospects(self.draws[: len(means)], means, variances, positions)

    @cached_property
    def _places(self) -> np.ndarray:
        """Where a lineage may be run next, (P, D)."""
        if not self.spec.others:
            return np.linspace(0, 1, GRID)[:, None]
        return qmc.Halton(len(self.spec.axes), rng=self.spec.seed).random(NUM_ELSEWHERE)

    @cached_property
    def _curves_at_places(self) -> np.ndarray:
        """Values of z for some draws at `_places`, (`NUM_CURVES`, P)."""
        return self._fit.curves.z(self._places)[:NUM_CURVES]

    @cached_property
    def _centre(self) -> np.ndarray:
        """A place (D,) on the frontier, at the middle one of those asked."""
        asked = len(self._asked) // 2
        return np.array([np.clip(np.median(self.draws[:, asked]), 0, 1), *self._asked[asked]])

    @property
    def _s(self) -> float:
        return float(np.median(self._fit.curves.s))

    @property
    def _k(self) -> float:
        """How far from the frontier lineages differ from it by one s, on the unit axis."""
        return float(np.median(self._fit.curves.k))

    @cached_property
    def _unit_precision(self) -> float:
        """The asked precision as a length on the unit axis, about `_centre`."""
        axis = self.spec.fraction
        value, half = axis.value(float(self._centre[0])), self.spec.precision / 2
        return axis.unit(min(value + half, axis.high)) - axis.unit(max(value - half, axis.low))

    @cached_property
    def _expected_costs(self) -> np.ndarray:
        """Of a lineage at each of `_places`, (P,): as deep as those near it went, and one more as deep as planned."""
        units = np.array([lineage.unit for lineage in self._telling])
        near = np.exp(-0.5 * (((self._places[:, None] - units) / NEIGHBOURHOOD) ** 2).sum(-1))  # (P, N)
        reached = np.array([lineage.reached for lineage in self._telling])
        depths = (near @ reached + self.plan.generations) / (near.sum(1) + 1)
        costs = self._costs.per_generation(self.arm, self._places, self.spec.depth)
        totals = np.concatenate([np.zeros((len(costs), 1)), np.cumsum(costs, axis=1)], axis=1)
        steps = np.arange(self.spec.depth + 1)
        return np.array([np.interp(depth, steps, total) for depth, total in zip(depths, totals, strict=True)])

    def _generator(self, purpose: str) -> np.random.Generator:
        return generator(self.spec.seed, "frontier", purpose, str(self.arm), len(self.observations))
