"""Draws from a posterior by population Monte Carlo: importance sampling that adapts its proposal.

The prior is standard normal in all parameters. A Student distribution is fitted to the weighted draws of one round and
proposes those of the next (Cappe et al. 2004); while the draws are poor, weights are flattened (tempering), so that the
proposal moves to the posterior in steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

FIRST_DRAWS = 2048
DRAWS = 1024
FINAL_DRAWS = 2000
MAX_ROUNDS = 12

DOF = 5
WIDER = 1.2
"""Of the proposal: degrees of freedom, and its variance in units of that of the weighted draws."""

FLATTENED = 0.1
ENOUGH = 0.4
"""Effective sample sizes, as shares of the draws: what weights are flattened to, and what is good enough to stop."""

BISECTIONS = 20


@dataclass(frozen=True)
class Density:
    """A posterior up to a constant: `log_likelihood` takes parameters (R, dimension) and gives (R,)."""

    dimension: int
    log_likelihood: Callable[[np.ndarray], np.ndarray]

    def log_posterior(self, parameters: np.ndarray) -> np.ndarray:
        return self.log_likelihood(parameters) - 0.5 * (parameters**2).sum(1)


@dataclass(frozen=True)
class _Student:
    """A multivariate Student distribution: location (D,) and lower triangular root of its scale (D, D)."""

    location: np.ndarray
    root: np.ndarray

    @classmethod
    def fitted(cls, draws: np.ndarray, weights: np.ndarray) -> Self:
        """With the mean of weighted draws (R, D), and a little more than their covariance."""
        location = weights @ draws
        centred = draws - location
        covariance = (weights[:, None] * centred).T @ centred + 1e-9 * np.eye(draws.shape[1])
        return cls(location, np.linalg.cholesky(covariance * WIDER * (DOF - 2) / DOF))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        normal = rng.standard_normal((count, len(self.location)))
        return self.location + normal @ self.root.T / np.sqrt(rng.chisquare(DOF, count) / DOF)[:, None]

    def log_density(self, draws: np.ndarray) -> np.ndarray:
        """Up to a constant, (R,)."""
        whitened = np.linalg.solve(self.root, (draws - self.location).T)
        return -(DOF + len(self.location)) / 2 * np.log1p((whitened**2).sum(0) / DOF)


def sample(density: Density, rng: np.random.Generator) -> np.ndarray:
    """Equally weighted draws, (`FINAL_DRAWS`, dimension)."""
    even = qmc.Sobol(density.dimension, rng=int(rng.integers(2**62))).random(FIRST_DRAWS)
    draws = ndtri(np.clip(even, 1e-6, 1 - 1e-6))
    log_weights = density.log_likelihood(draws)
    for _ in range(MAX_ROUNDS):
        proposal = _Student.fitted(draws, _flattened(log_weights))
        draws = proposal.draw(DRAWS, rng)
        log_weights = density.log_posterior(draws) - proposal.log_density(draws)
        if _effective(_normalised(log_weights)) >= ENOUGH:
            break
    proposal = _Student.fitted(draws, _flattened(log_weights))
    draws = proposal.draw(2 * FINAL_DRAWS, rng)
    weights = _normalised(density.log_posterior(draws) - proposal.log_density(draws))
    steps = (np.arange(FINAL_DRAWS) + rng.random()) / FINAL_DRAWS  # systematic resampling
    return draws[np.minimum(np.searchsorted(np.cumsum(weights), steps), len(draws) - 1)]


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def _effective(weights: np.ndarray) -> float:
    """Effective sample size as a share of the draws."""
    return float(1 / (weights @ weights) / len(weights))


def _flattened(log_weights: np.ndarray) -> np.ndarray:
    """Weights to the largest power in [0, 1] that leaves an effective share of `FLATTENED`."""
    if _effective(_normalised(log_weights)) >= FLATTENED:
        return _normalised(log_weights)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        power = (low + high) / 2
        enough = _effective(_normalised(power * log_weights)) >= FLATTENED
        low, high = (power, high) if enough else (low, power)
    return _normalised(low * log_weights)
