"""Multivariate normal, fitted in closed form: the model whose collapse theory describes exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.model.family import ClosedForm, FamilySpec, SamplingSpec


class Spec(FamilySpec):
    """Maximum-likelihood or unbiased normal for vectors; (R, D) payloads are R independent normals fitted at once."""

    closed_form: ClassVar[bool] = True

    ddof: Literal[0, 1] = 0
    """0: maximum likelihood, divides by the sum of weights W. 1: unbiased for reliability weights, divides by
    W - sum(w^2) / W, which is N - 1 when the N rows weigh alike (as `numpy.cov(aweights=w, ddof=1)`)."""
    covariance: Literal["full", "diagonal"] = "full"
    """`diagonal` sets every covariance between two dimensions to zero."""

    def check(self, payload: Payload, sampling: SamplingSpec) -> None:
        if payload.kind != "vector" or len(payload.shape) not in (1, 2):
            raise InvalidInput(
                f"the family 'gaussian' cannot model a payload of kind '{payload.kind}' and shape {payload.shape}: "
                "it models vectors of shape (D,) or (R, D); choose another source or another family"
            )
        self.refuse_token_filters(sampling)

    def build(self, payload: Payload) -> "Gaussian":
        return Gaussian(payload.shape, self.ddof, self.covariance)


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted sufficient statistics, kept central so that tiny variances survive far from the origin.

    `mean` is (..., D); `scatter` is the weighted sum of outer products about the mean, (..., D, D).
    """

    num_rows: int
    weight: float
    weight_squared: float
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Self:
        return cls(0, 0.0, 0.0, np.zeros(shape), np.zeros((*shape, shape[-1])))

    @classmethod
    def of(cls, payload: np.ndarray, weight: np.ndarray) -> Self:
        """Of rows (B, ..., D) with weights (B,); rows of weight 0 do not count."""
        counted = weight > 0
        if not counted.any():
            return cls.empty(payload.shape[1:])
        payload, weight = payload[counted], weight[counted].astype(np.float64)
        total = weight.sum()
        mean = np.tensordot(weight, payload, axes=1) / total
        centred = np.moveaxis(payload - mean, 0, -2)  # (..., B, D)
        return cls(
            num_rows=len(weight),
            weight=float(total),
            weight_squared=float(weight @ weight),
            mean=mean,
            scatter=centred.mT @ (weight[:, None] * centred),
        )

    def __add__(self, other: Self) -> Self:
        """Pairwise update of Chan, Golub and LeVeque (1979), with weights for counts."""
        if other.num_rows == 0:
            return self
        weight = self.weight + other.weight
        delta = other.mean - self.mean
        outer = delta[..., :, None] * delta[..., None, :]
        return type(self)(
            num_rows=self.num_rows + other.num_rows,
            weight=weight,
            weight_squared=self.weight_squared + other.weight_squared,
            mean=self.mean + delta * (other.weight / weight),
            scatter=self.scatter + other.scatter + outer * (self.weight * other.weight / weight),
        )


class Gaussian(ClosedForm):
    """One normal, or R independent ones: mean (..., D) and covariance (..., D, D) in double precision.

    Standard normal until `solve`. The statistics are not part of the artifact.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, shape: tuple[int, ...], ddof: int, structure: Literal["full", "diagonal"]) -> None:
        super().__init__()
        self.shape = shape
        self.ddof = ddof
        self.structure = structure
        self.moments = Moments.empty(shape)
        size = shape[-1]
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("covariance", torch.eye(size, dtype=torch.float64).expand(*shape, size).clone())

    def update(self, payload: np.ndarray, weight: np.ndarray) -> None:
        self.moments += Moments.of(payload, weight)

    def solve(self) -> None:
        """Sets mean and covariance.

        Raises:
            InvalidInput: no more rows of positive weight than `ddof`.
        """
        moments = self.moments
        if moments.num_rows <= self.ddof:
            raise InvalidInput(
                f"a Gaussian with ddof={self.ddof} was given {moments.num_rows} rows of positive weight; "
                f"it needs at least {self.ddof + 1}: use a larger pool, or ddof=0"
            )
        covariance = moments.scatter / (moments.weight - self.ddof * moments.weight_squared / moments.weight)
        if self.structure == "diagonal":
            covariance = covariance * np.eye(self.shape[-1])
        self.mean.copy_(torch.from_numpy(moments.mean))
        self.covariance.copy_(torch.from_numpy(covariance))

    def forward(self, payload: Tensor) -> Tensor:
        """Exact negative log-likelihood in nats, averaged over replicas: (B, ..., D) -> (B,).

        Infinite where any covariance is degenerate: there is no density to evaluate.
        """
        root, degenerate = _square_root(self.covariance)
        centred = (payload - self.mean).movedim(0, -1)  # (..., D, B)
        whitened = torch.linalg.solve_triangular(root, centred, upper=False)
        log_determinant = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = log_determinant + 0.5 * self.shape[-1] * math.log(2 * math.pi)
        loss = 0.5 * whitened.square().sum(-2) + constant[..., None]
        return loss.masked_fill(degenerate[..., None], math.inf).reshape(-1, len(payload)).mean(0)

    def draw_noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        return torch.from_numpy(np.stack([generator.standard_normal(self.shape) for generator in generators]))

    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        root, _ = _square_root(self.covariance)
        offset = torch.einsum("...de,b...e->b...d", root, noise)
        return (self.mean + sampling.temperature * offset).cpu().numpy()


def _square_root(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Roots L with L L^T = covariance, (..., D, D), and which covariances are degenerate, (...,).

    The correlation matrix is factored, so that what counts as degenerate does not depend on units, a variance of zero
    gives a row of exact zeros, and one dimension needs nothing but the square root. L is lower triangular except where
    rounding left a matrix that is not positive definite: there it comes from the eigenvectors.
    """
    std = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    scale = torch.where(std > 0, std, 1.0)
    correlation = covariance / (scale[..., :, None] * scale[..., None, :])
    correlation.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    root, info = torch.linalg.cholesky_ex(correlation)
    failed = info > 0
    if failed.any():
        values, vectors = torch.linalg.eigh(correlation)
        spectral = vectors * values.clamp(min=0).sqrt()[..., None, :]
        root = torch.where(failed[..., None, None], spectral, root)
    smallest_pivot = root.diagonal(dim1=-2, dim2=-1).amin(-1).square()
    rounding = covariance.shape[-1] * torch.finfo(covariance.dtype).eps
    degenerate = failed | (std == 0).any(-1) | (smallest_pivot <= rounding)
    return std[..., :, None] * root, degenerate
