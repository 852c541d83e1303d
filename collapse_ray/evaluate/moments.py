"""Mean and variance of a stream of rows, mergeable in any order."""

import math
from typing import Self

import numpy as np


class Moments:
    """Count, mean and centred second moment.

    The second moment is a matrix (D, D) where `full`, else its diagonal (D,). Blocks are combined by equations
    1.5 of Chan, Golub & LeVeque 1979 ("Updating formulae and a pairwise algorithm for computing sample
    variances"), which do not cancel when the mean is large against the spread.
    """

    def __init__(self, num_features: int, *, full: bool = False) -> None:
        self.count = 0
        self.mean = np.zeros(num_features)
        self.m2 = np.zeros((num_features, num_features) if full else num_features)

    def update(self, rows: np.ndarray) -> None:
        """Adds rows (B, D)."""
        if len(rows) == 0:
            return
        with _diverged():
            mean = rows.mean(axis=0)
            centred = rows - mean
            m2 = centred.T @ centred if self.m2.ndim == 2 else np.einsum("bd,bd->d", centred, centred)
        self._combine(len(rows), mean, m2)

    def merge(self, other: Self) -> None:
        """Adds the rows that another has seen."""
        if other.count:
            self._combine(other.count, other.mean, other.m2)

    def _combine(self, count: int, mean: np.ndarray, m2: np.ndarray) -> None:
        total = self.count + count
        with _diverged():
            delta = mean - self.mean
            between = np.outer(delta, delta) if self.m2.ndim == 2 else delta**2
            self.m2 = self.m2 + m2 + between * (self.count * count / total)
            self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def total_variance(self) -> float | None:
        """Trace of the unbiased covariance; None below two rows or where it is not finite."""
        if self.count < 2:
            return None
        with _diverged():
            trace = np.trace(self.m2) if self.m2.ndim == 2 else self.m2.sum()
        return finite(trace / (self.count - 1))

    @property
    def covariance(self) -> np.ndarray | None:
        """Unbiased covariance (D, D), of full moments only; None below two rows or where it is not finite."""
        if self.count < 2 or not np.isfinite(self.m2).all():
            return None
        return self.m2 / (self.count - 1)


def _diverged() -> np.errstate:
    """Samples of a diverged generator may overflow: the moments are then inf or NaN, and reported as absent."""
    return np.errstate(over="ignore", invalid="ignore")


def finite(value: float) -> float | None:
    """A plain float; None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None
