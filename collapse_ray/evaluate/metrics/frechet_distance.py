"""Distance between Gaussians fitted to real and synthetic rows."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from scipy.linalg import get_lapack_funcs, solve_triangular

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.both_sets import BothSets
from collapse_ray.evaluate.features import features, has_features
from collapse_ray.evaluate.metric import MetricSpec, Summary

NUM_ROWS = 512
"""Rows kept of each set, whose influence stands for that of all."""


class Spec(MetricSpec):
    """Squared Frechet distance of the two Gaussians (Dowson & Landau 1982; the formula of FID, Heusel et al. 2017).

    Taken on pixels in [0, 1] or on vector components, not on Inception features: it needs no downloaded weights and is
    not comparable with a published FID. Like FID it is biased upwards for few rows. None below two rows of either
    kind, for tokens and for replicas.

    `frechet_distance_stderr` is the standard error over the draw of both sets of rows, by the influence of each row on
    the distance: the delta method of Rippl, Munk & Sturm 2016 ("Limit laws of the empirical Wasserstein distance:
    Gaussian distributions"), without their assumption that the rows are Gaussian. It is too large, by a factor of up to
    1.7, where the distance is mostly bias: where the two sets have the same distribution.
    """

    names: ClassVar[tuple[str, ...]] = ("frechet_distance", "frechet_distance_stderr")

    max_features: int = Field(default=4096, ge=1)
    """With more features the value is null: two covariances of 8 * D**2 bytes would be kept on every rank."""

    def empty(self, payload: Payload) -> Summary | None:
        return Frechet(payload) if has_features(payload) and payload.size <= self.max_features else None


class Frechet(BothSets):
    """Mean and full covariance of both sets, and some rows, from which the error of the distance is known."""

    def __init__(self, payload: Payload) -> None:
        super().__init__(payload, NUM_ROWS, full=True)

    def compute(self) -> dict[str, float | None]:
        if self.real.covariance is None or self.synthetic.covariance is None:
            return dict.fromkeys(Spec.names)
        real = Gaussian.of(self.real.mean, self.real.covariance)
        synthetic = Gaussian.of(self.synthetic.mean, self.synthetic.covariance)
        overlap = Overlap.of(real, synthetic)
        variance = _variance_of_mean(
            overlap.influence_of_left(features(self.real_rows.rows)), self.real.count
        ) + _variance_of_mean(overlap.influence_of_right(features(self.synthetic_rows.rows)), self.synthetic.count)
        return {"frechet_distance": overlap.distance, "frechet_distance_stderr": math.sqrt(variance)}


def _variance_of_mean(values: np.ndarray, count: int) -> float:
    """Of `count` values, of which these are some."""
    return float(values.var(ddof=1)) / count


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean (D,), covariance (D, D), which may be singular, and a factor of it.

    `factor` (D, r), r the numerical rank, times its transpose is the covariance; its first r rows in the order `pivots`
    (D,) are a lower triangle. Cholesky with complete pivoting, which stops at the rank (Higham 2002, ch. 10.3): 20
    times faster than eigenvectors.
    """

    mean: np.ndarray
    covariance: np.ndarray
    factor: np.ndarray
    pivots: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray) -> Self:
        (pstrf,) = get_lapack_funcs(("pstrf",), (covariance,))
        lower, pivots, rank, _ = pstrf(covariance, lower=True)
        factor = np.zeros((len(covariance), rank))
        factor[pivots - 1] = np.tril(lower)[:, :rank]
        return cls(mean, covariance, factor, pivots - 1)

    def whitened(self, centred: np.ndarray) -> np.ndarray:
        """Coordinates (r, N) of rows (N, D) in the factor's columns, exact for rows within the span of the Gaussian."""
        first = self.pivots[: self.factor.shape[1]]
        return solve_triangular(self.factor[first], centred[:, first].T, lower=True)


@dataclass(frozen=True, eq=False)
class Overlap:
    """||m1 - m2||^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), and how it depends on the rows behind the Gaussians.

    With C = A A^T, tr (C1 C2)^(1/2) is the sum of the singular values of A1^T A2 = U S V^T. Unlike a matrix square root
    of the product this needs no inverse, no regularisation and no complex numbers, and it never squares a small
    eigenvalue.
    """

    left: Gaussian
    right: Gaussian
    left_vectors: np.ndarray
    """U^T (r, r1)."""
    singular_values: np.ndarray
    """(r,)"""
    right_vectors: np.ndarray
    """V^T (r, r2)."""

    @classmethod
    def of(cls, left: Gaussian, right: Gaussian) -> Self:
        left_vectors, singular_values, right_vectors = np.linalg.svd(left.factor.T @ right.factor, full_matrices=False)
        return cls(left, right, left_vectors.T, singular_values, right_vectors)

    @property
    def distance(self) -> float:
        traces = np.trace(self.left.covariance) + np.trace(self.right.covariance)
        distance = np.sum((self.left.mean - self.right.mean) ** 2) + traces - 2 * self.singular_values.sum()
        return max(float(distance), 0.0)  # rounding may leave -1e-16 where the Gaussians are the same

    def influence_of_left(self, rows: np.ndarray) -> np.ndarray:
        """N times the change of the distance with the weight 1/N (N,) of rows (N, D) of the left set, up to a constant.

        The derivative of the distance by C1 is 1 - T, where T = A1^-T U S U^T A1^-1 maps the left Gaussian to the right
        one; by m1 it is 2 (m1 - m2).
        """
        return self._influence(self.left, self.right, self.left_vectors, rows)

    def influence_of_right(self, rows: np.ndarray) -> np.ndarray:
        """The same for the right set."""
        return self._influence(self.right, self.left, self.right_vectors, rows)

    def _influence(self, own: Gaussian, other: Gaussian, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        centred = rows - own.mean
        transported = self.singular_values @ (vectors @ own.whitened(centred)) ** 2
        return 2 * centred @ (own.mean - other.mean) + np.sum(centred**2, axis=1) - transported


def frechet_distance(mean_1: np.ndarray, cov_1: np.ndarray, mean_2: np.ndarray, cov_2: np.ndarray) -> float:
    """The distance of two Gaussians, of means (D,) and covariances (D, D), which may be singular."""
    return Overlap.of(Gaussian.of(mean_1, cov_1), Gaussian.of(mean_2, cov_2)).distance
