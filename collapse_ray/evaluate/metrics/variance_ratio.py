"""How much of the real data's spread the samples have: 1 is all of it, 0 a collapse to a point."""

from typing import ClassVar, Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.features import features
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.moments import Moments


class Spec(MetricSpec):
    """Total variance (trace of the unbiased covariance) of synthetic samples over that of held-out real rows.

    Pixels are taken in [0, 1]. With replicas (R, D) both variances are taken within each replica and averaged over
    replicas before the ratio, which for R = 1 is the plain ratio. A lost mode can leave it at 1: see recall.
    """

    names: ClassVar[tuple[str, ...]] = ("variance_ratio",)

    def empty(self, payload: Payload) -> Summary | None:
        return None if payload.kind == "tokens" else VarianceRatio(payload.size)


class VarianceRatio(Summary):
    """Variances of all components, side by side.

    The number of replicas cancels in a ratio of averages, so replicas need no axis of their own.
    """

    def __init__(self, num_features: int) -> None:
        self.real = Moments(num_features)
        self.synthetic = Moments(num_features)

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(features(payload))

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(features(payload))

    def merge(self, other: Self) -> None:
        self.real.merge(other.real)
        self.synthetic.merge(other.synthetic)

    def compute(self) -> dict[str, float | None]:
        real, synthetic = self.real.total_variance, self.synthetic.total_variance
        return {"variance_ratio": None if not real or synthetic is None else synthetic / real}
