"""Closed forms that a lineage of Gaussians must obey.

Notation: the real data is N(0, 1); every generation fits mean mu and variance v to n samples per generation, and
generation t is the result of G = t fits, the first of them on real data. `ddof` 0 is maximum likelihood, 1 is unbiased.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

SAMPLES_PER_GENERATION = 20
"""Few, so that one fit too many or too few changes every expectation by more than its standard error."""


@dataclass(frozen=True)
class Quantity:
    """A function of one fit whose expectation over replicas is known.

    `expected` takes (G, n); `observe` takes mu (R,), v (R,), G and n, and gives one value for each replica, (R,).
    """

    name: str
    expected: Callable[[int, int], float]
    observe: Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


@dataclass(frozen=True)
class Oracle:
    """A setting and what holds in it."""

    id: str
    setting: str
    regime: str
    ddof: int
    quantities: tuple[Quantity, ...]


def replace_mle_variance(fits: int, n: int) -> float:
    """O1: E v = (1 - 1/n)^G. Each fit by maximum likelihood loses a share 1/n of the variance on average."""
    return (1 - 1 / n) ** fits


def replace_mle_drift(fits: int, n: int) -> float:
    """O1: E mu^2 = 1 - (1 - 1/n)^G. What the variance loses, the mean has wandered."""
    return 1 - replace_mle_variance(fits, n)


def replace_unbiased_drift(fits: int, n: int) -> float:
    """O2: E mu^2 = G/n, a random walk with a step of variance 1/n."""
    return fits / n


def log_variance_mean(fits: int, n: int) -> float:
    """O4: E log v = G (psi((n-1)/2) + ln(2/(n-1))): v is a product of G independent chi^2_{n-1} / (n-1)."""
    half = (n - 1) / 2
    return fits * float(digamma(half) - math.log(half))


def log_variance_variance(fits: int, n: int) -> float:
    """O4: Var log v = G psi_1((n-1)/2)."""
    return fits * float(polygamma(1, (n - 1) / 2))


def accumulate_variance(fits: int, n: int) -> float:
    """O8: E v = prod_{i=1..G} (1 - 1/(n i^2)) -> sin(pi/sqrt n) / (pi/sqrt n): the variance stays."""
    return math.prod(1 - 1 / (n * i**2) for i in range(1, fits + 1))


def accumulate_drift(fits: int, n: int) -> float:
    """O8: E mu^2 = 1 - E v."""
    return 1 - accumulate_variance(fits, n)


def _variance(mean: np.ndarray, variance: np.ndarray, fits: int, n: int) -> np.ndarray:
    return variance


def _squared_mean(mean: np.ndarray, variance: np.ndarray, fits: int, n: int) -> np.ndarray:
    return mean**2


def _second_moment(mean: np.ndarray, variance: np.ndarray, fits: int, n: int) -> np.ndarray:
    return mean**2 + variance


def _log_variance(mean: np.ndarray, variance: np.ndarray, fits: int, n: int) -> np.ndarray:
    return np.log(variance)


def _squared_log_deviation(mean: np.ndarray, variance: np.ndarray, fits: int, n: int) -> np.ndarray:
    """About the known mean, so that its average over replicas is an unbiased estimate of Var log v."""
    return (np.log(variance) - log_variance_mean(fits, n)) ** 2


ORACLES = {
    oracle.id: oracle
    for oracle in (
        Oracle(
            "O1",
            "replace, maximum-likelihood variance",
            regime="replace",
            ddof=0,
            quantities=(
                Quantity("E v", replace_mle_variance, _variance),
                Quantity("E mu^2", replace_mle_drift, _squared_mean),
            ),
        ),
        Oracle(
            "O2",
            "replace, unbiased variance",
            regime="replace",
            ddof=1,
            quantities=(
                Quantity("E v", lambda fits, n: 1.0, _variance),
                Quantity("E mu^2", replace_unbiased_drift, _squared_mean),
                # The marginal variance of a sample, E v + E mu^2 (E mu = 0).
                Quantity("E v + mu^2", lambda fits, n: 1 + fits / n, _second_moment),
            ),
        ),
        Oracle(
            "O4",
            "replace, unbiased variance, in logarithms",
            regime="replace",
            ddof=1,
            quantities=(
                Quantity("E log v", log_variance_mean, _log_variance),
                Quantity("Var log v", log_variance_variance, _squared_log_deviation),
            ),
        ),
        Oracle(
            "O8",
            "accumulate, pooled maximum likelihood",
            regime="accumulate",
            ddof=0,
            quantities=(
                Quantity("E v", accumulate_variance, _variance),
                Quantity("E mu^2", accumulate_drift, _squared_mean),
            ),
        ),
    )
}
