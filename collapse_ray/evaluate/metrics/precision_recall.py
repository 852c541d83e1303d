"""Are the samples like real rows (precision, density), and do they reach all of them (recall, coverage)?"""

from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist
from sklearn.metrics import euclidean_distances

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.features import has_features
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.subsample import Subsample


class Spec(MetricSpec):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Distances are Euclidean between pixels or vector components; balls are closed. Recall shows a lost mode that
    variance hides (Alemohammad et al. 2023, appendix B.2). All values depend on the number of rows: compare lineages at
    the same number. None where a set has no more than `num_neighbours` rows, for tokens and for replicas.
    """

    names: ClassVar[tuple[str, ...]] = ("precision", "recall", "density", "coverage")

    num_neighbours: int = Field(default=5, ge=1)
    """k: the ball around a row reaches its k-th nearest neighbour in its own set."""
    max_samples: int = Field(default=2000, ge=2)
    """Rows kept of each set, those with the smallest hashes of sample_id; cost grows with its square."""

    def empty(self, payload: Payload) -> Summary | None:
        return PrecisionRecall(payload, self.num_neighbours, self.max_samples) if has_features(payload) else None


class PrecisionRecall(Summary):
    """The rows kept of both sets."""

    def __init__(self, payload: Payload, num_neighbours: int, max_samples: int) -> None:
        self.num_neighbours = num_neighbours
        self.real = Subsample(payload, max_samples)
        self.synthetic = Subsample(payload, max_samples)

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(sample_ids, payload)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(sample_ids, payload)

    def merge(self, other: Self) -> None:
        self.real.merge(other.real)
        self.synthetic.merge(other.synthetic)

    def compute(self) -> dict[str, float | None]:
        real, synthetic, k = self.real.rows, self.synthetic.rows, self.num_neighbours
        values: dict[str, float | None] = dict.fromkeys(Spec.names)
        if not len(real) or not len(synthetic):
            return values
        distances = _distances(real, synthetic)
        if len(real) > k:
            in_real_ball = distances <= _radii(real, k)[:, None]
            values["precision"] = float(in_real_ball.any(axis=0).mean())
            values["density"] = float(in_real_ball.sum(axis=0).mean() / k)
            values["coverage"] = float(in_real_ball.any(axis=1).mean())
        if len(synthetic) > k:
            in_synthetic_ball = distances <= _radii(synthetic, k)[None, :]
            values["recall"] = float(in_synthetic_ball.any(axis=1).mean())
        return values


def _radii(rows: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Distance (N,) from each row to its k-th nearest neighbour among the others."""
    distances = _distances(rows, rows)
    np.fill_diagonal(distances, np.inf)
    return np.partition(distances, num_neighbours - 1, axis=1)[:, num_neighbours - 1]


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, M), without cancellation, so that closed balls hold copies of a row.

    Pixels stay integers of 0 to 255, for which scikit-learn's expansion into a matrix product is exact and fast; for
    vectors that expansion loses distances below 1e-8 of the norm, so differences are taken one by one.
    """
    if left.dtype == np.uint8:
        return euclidean_distances(left.astype(np.float64), right.astype(np.float64))
    return cdist(left, right)
