"""How much of the real data's spread the samples have: 1 is all of it, 0 a collapse to a point."""

import math
from typing import ClassVar

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.both_sets import BothSets
from collapse_ray.evaluate.features import features
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.moments import Moments

NUM_ROWS = 512
"""Rows kept of each set; where it has more, the standard error is known to about (kurtosis of q / 2048)^(1/2)."""


class Spec(MetricSpec):
    """Total variance (trace of the unbiased covariance) of synthetic samples over that of held-out real rows.

    Pixels are taken in [0, 1]. With replicas (R, D) both variances are taken within each replica and averaged over
    replicas before the ratio, which for R = 1 is the plain ratio. A lost mode can leave it at 1: see recall.

    `variance_ratio_stderr` is the standard error over the draw of both sets of rows: the delete-one jackknife of each
    total variance, which has a closed form, and the delta method for their ratio. None below three rows of either set.
    """

    names: ClassVar[tuple[str, ...]] = ("variance_ratio", "variance_ratio_stderr")

    def empty(self, payload: Payload) -> Summary | None:
        return None if payload.kind == "tokens" else VarianceRatio(payload)


class VarianceRatio(BothSets):
    """Variances of all components, side by side, and some rows, from which the error of the variances is known.

    The number of replicas cancels in a ratio of averages, so replicas need no axis of their own.
    """

    def __init__(self, payload: Payload) -> None:
        super().__init__(payload, NUM_ROWS)

    def compute(self) -> dict[str, float | None]:
        real, synthetic = self.real.total_variance, self.synthetic.total_variance
        if not real or synthetic is None:
            return dict.fromkeys(Spec.names)
        ratio = synthetic / real
        real_error = _error_of_variance(self.real, self.real_rows.rows)
        synthetic_error = _error_of_variance(self.synthetic, self.synthetic_rows.rows)
        if real_error is None or synthetic_error is None:
            return {"variance_ratio": ratio, "variance_ratio_stderr": None}
        stderr = math.hypot(synthetic_error, ratio * real_error) / real
        return {"variance_ratio": ratio, "variance_ratio_stderr": stderr}


def _error_of_variance(moments: Moments, rows: np.ndarray) -> float | None:
    """Standard error of a total variance over n rows; None below three.

    Without row i the total variance is a constant minus n q_i / ((n - 1) (n - 2)), where q_i is the squared distance of
    the row from the mean. The jackknife's variance is therefore n / (n - 2)^2 times that of q: the kept rows tell it.
    """
    if moments.count < 3:
        return None
    distances = np.sum((features(rows) - moments.mean) ** 2, axis=1)
    return float(distances.std(ddof=1)) * math.sqrt(moments.count) / (moments.count - 2)
