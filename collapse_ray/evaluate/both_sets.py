"""Moments of the real and of the synthetic rows, and some rows of each."""

from typing import Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.features import features
from collapse_ray.evaluate.metric import Summary
from collapse_ray.evaluate.moments import Moments
from collapse_ray.evaluate.subsample import Subsample


class BothSets(Summary):
    """For values of moments, whose error the kept rows tell.

    Args:
        payload: of the samples.
        num_rows: kept of each set.
        full: whether the whole covariances are needed, or only the variances.
    """

    def __init__(self, payload: Payload, num_rows: int, *, full: bool = False) -> None:
        self.real, self.synthetic = Moments(payload.size, full=full), Moments(payload.size, full=full)
        self.real_rows, self.synthetic_rows = Subsample(payload, num_rows), Subsample(payload, num_rows)

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(features(payload))
        self.real_rows.update(sample_ids, payload)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(features(payload))
        self.synthetic_rows.update(sample_ids, payload)

    def merge(self, other: Self) -> None:
        self.real.merge(other.real)
        self.synthetic.merge(other.synthetic)
        self.real_rows.merge(other.real_rows)
        self.synthetic_rows.merge(other.synthetic_rows)
