"""The models of how a response moves over generations, as Gaussian processes over the generation.

A response relaxes towards a level of its own, or drifts for ever, and is measured with error:

    level_{g+1} = rho level_g + a + eta_g,   eta ~ N(0, (1 - phi) s^2)
    response_g  = level_g + epsilon_g,   epsilon ~ N(0, phi s^2)

The first level and the intercept `a` belong to the lineage, under a vague prior. rho = 1 is a random walk with drift,
which is exactly what the log-variance of a Gaussian does under `replace`; rho < 1 is a return to an equilibrium, as
under `mix`.
"""

from functools import lru_cache

import numpy as np

VAGUE = 1e3
"""Prior standard deviation of the first level and the intercept, in units of s."""

MAX_POINTS = 64
"""Of a longer series as many evenly spaced points are used."""


def thinned(generations: np.ndarray) -> np.ndarray:
    """Positions (P,) of at most `MAX_POINTS` of the generations (G,), first and last among them."""
    return np.unique(np.linspace(0, len(generations) - 1, min(len(generations), MAX_POINTS)).astype(int))


class Dynamics:
    """Models (rho, phi) for one depth, M of them; all variances are in units of s^2."""

    def __init__(self, depth: int) -> None:
        relaxation = np.geomspace(0.5, 2 * depth, 9)  # generations
        rho = np.append(np.exp(-1 / relaxation), 1.0)
        phi = np.array([0.0, 0.3, 0.7, 0.95])
        self.depth = depth
        self.rho = np.repeat(rho, len(phi))
        self.phi = np.tile(phi, len(rho))
        self._solved = lru_cache(maxsize=256)(self._solve)

    def __len__(self) -> int:
        return len(self.rho)

    def covariance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Of the responses at generations (A,) and (B,), counted from 1: (M, A, B)."""
        rho, phi = self.rho[:, None, None], self.phi[:, None, None]
        a, b = first[:, None] - 1.0, second[None, :] - 1.0
        start = VAGUE**2 * (rho ** (a + b) + _drift(rho, a) * _drift(rho, b))
        walked = rho ** np.abs(a - b) * _walk(rho, np.minimum(a, b))
        return start + (1 - phi) * walked + phi * (a == b)

    def innovations(self, generations: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of all one-step errors of a series (G,) but the first two, which no model predicts.

        Returns:
            Their squares summed, (M,), and their log standard deviations summed, (M,).
        """
        whitening, _, _ = self._solved(tuple(generations))
        errors = whitening @ series
        return (errors[:, 2:] ** 2).sum(1), -np.log(whitening.diagonal(axis1=1, axis2=2)[:, 2:]).sum(1)

    def predict(self, generations: np.ndarray, series: np.ndarray) -> np.ndarray:
        """Mean of the response at the depth, given a series (G,): (M,)."""
        return self._solved(tuple(generations))[1] @ series

    def spread(self, generations: np.ndarray) -> np.ndarray:
        """Variance of the response at the depth, given what it was at generations (G,): (M,)."""
        return self._solved(tuple(generations))[2]

    def _solve(self, generations: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen, last = np.array(generations), np.array([self.depth])
        whitening = np.linalg.inv(np.linalg.cholesky(self.covariance(seen, seen)))
        half = whitening @ self.covariance(seen, last)
        weights = (whitening.mT @ half)[..., 0]
        variance = self.covariance(last, last)[:, 0, 0] - (half**2).sum((1, 2))
        return whitening, weights, np.maximum(variance, 0.0)


def _drift(rho: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """1 + rho + ... + rho^(steps-1)."""
    return np.where(rho == 1, steps, (1 - rho**steps) / np.where(rho == 1, 1, 1 - rho))


def _walk(rho: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """1 + rho^2 + ... + rho^(2 (steps-1)): variance of the level after that many steps."""
    return _drift(rho**2, steps)
