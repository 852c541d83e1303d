"""What one more lineage would tell about the frontier, before it is run."""

from collections.abc import Sequence

import numpy as np

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
NOISE, CHANCE = _NODES, _WEIGHTS / _WEIGHTS.sum()
"""Nodes and weights of the mean over a standard normal."""


def expected_responses(z: np.ndarray, widening: float, window: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a response, in units of s and taken into the window, for each draw of the curve.

    Args:
        z: the curve at P places, (R, P).
        widening: standard deviation of a response about the curve, in units of s; above 1 where it is forecast.
        window: half width, in units of s.

    Returns:
        Means (R, P) and variances (R, P).
    """
    told = np.clip(z[..., None] + widening * NOISE, -window, window)
    means = told @ CHANCE
    return means, told**2 @ CHANCE - means**2


class Prospects:
    """Joint covariance of the frontier and of what lineages would tell, from draws of the curve.

    To first order (linear Bayes) a lineage at a place p lowers the variance of the frontier by
    cov(frontier, told_p)^2 / var(told_p), whatever it says. Hence lineages that are still running can be counted as if
    they had ended. Where the curve is far from the threshold all lineages tell the same, and nothing is learned: the
    straddle rule (Bryan et al. 2005; Gotovos et al. 2013) in units of the frontier, with noise and cost.
    """

    def __init__(self, frontiers: np.ndarray, means: np.ndarray, variances: np.ndarray, running: Sequence[int]) -> None:
        """From draws of the frontier at A asked places (R, A), and means and variances (R, P) of what would be told."""
        num_asked = frontiers.shape[1]
        together = np.concatenate([frontiers, means], axis=1)
        covariance = np.atleast_2d(np.cov(together, rowvar=False))
        noise = np.concatenate([np.zeros(num_asked), variances.mean(0)])
        self.before = covariance.diagonal()[:num_asked]
        for position in running:
            column = covariance[:, num_asked + position]
            covariance = covariance - np.outer(column, column) / (
                column[num_asked + position] + noise[num_asked + position]
            )
        told = covariance.diagonal()[num_asked:] + noise[num_asked:]
        self.after_running = covariance.diagonal()[:num_asked]
        """Variance of each frontier once the running lineages have ended, (A,)."""
        self.gains = (covariance[:num_asked, num_asked:] ** 2 / np.maximum(told, np.finfo(float).tiny)).sum(0)
        """Fall of the variance, summed over the asked frontiers, by one more lineage at each place, (P,)."""
