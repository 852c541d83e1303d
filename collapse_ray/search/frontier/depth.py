"""How deep to follow a lineage: the cheapest mixture of short and full lineages that gives the asked precision.

A lineage that is stopped after g generations tells its margin at the depth T with an error: its own, which averages
out over lineages, and one that all forecasts share, which only lineages that go to T measure. So some go to T and the
others stop early (two-phase sampling: Neyman 1938; Cochran 1977, chapter 12). With n_s short and n_f full lineages the
mean margin at the frontier is known with the variance

    1 / (n_s / (s^2 + v_g) + n_f / s^2)  +  (share of the short ones)^2 * shared_g / (1 + n_f c / (1 - c))
"""

from dataclasses import dataclass

import numpy as np

from collapse_ray.search.frontier.forecast import SHARED

NUMS_FULL = np.unique(np.geomspace(1, 60, 24).astype(int))
NUMS_SHORT = np.append(0, np.unique(np.geomspace(1, 300, 40).astype(int)))


@dataclass(frozen=True)
class DepthPlan:
    """Follow `num_full` lineages near the frontier to the depth, the others for `generations`."""

    generations: int
    num_full: int


def cheapest(
    own: np.ndarray, shared: np.ndarray, generations: np.ndarray, noise: float, target: float, costs: np.ndarray
) -> DepthPlan:
    """The cheapest plan whose mean margin has at most the variance `target`.

    Args:
        own: standard deviation of a forecast's own error after each of `generations`, (P,).
        shared: prior standard deviation of the error that forecasts share, (P,).
        generations: ascending, below the depth, (P,).
        noise: s, the standard deviation between lineages at one place.
        target: variance.
        costs: of each generation 1..T, (T,).
    """
    num_full, num_short = NUMS_FULL[None, :, None], NUMS_SHORT[None, None, :]
    short = num_short / (noise**2 + own[:, None, None] ** 2)
    full = num_full / noise**2
    shared_now = shared[:, None, None] ** 2 / (1 + num_full * SHARED / (1 - SHARED))
    variance = 1 / (short + full) + (short / (short + full)) ** 2 * shared_now
    total = np.cumsum(costs)
    cost = num_short * total[generations - 1][:, None, None] + num_full * total[-1]
    cost = np.where(variance <= target, cost, np.inf)
    at, full_index, short_index = np.unravel_index(int(np.argmin(cost)), cost.shape)
    if not np.isfinite(cost[at, full_index, short_index]) or short_index == 0:
        return DepthPlan(len(costs), 0)  # every lineage goes to the depth
    return DepthPlan(int(generations[at]), int(NUMS_FULL[full_index]))
