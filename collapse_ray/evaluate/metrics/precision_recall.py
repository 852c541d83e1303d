"""Are the samples like real rows (precision, density), and do they reach all of them (recall, coverage)?"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist
from sklearn.metrics import euclidean_distances

from collapse_ray.config import noise
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.features import has_features
from collapse_ray.evaluate.halves import Share, share_stderr
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.subsample import Subsample

VALUES = ("precision", "recall", "density", "coverage", "tail_coverage")

MAX_PARTS = 4
"""More would cost less, but be sparser by far than the whole: the few rows with large balls would count too little."""
ROWS_PER_PART = 50
"""Of the smaller set, at least, where that leaves two parts."""
NUM_DEALS = 7
"""A standard error from 4 parts has then 21 degrees of freedom: it is known to 15 %."""


class Spec(MetricSpec):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Distances are Euclidean between pixels or vector components; balls are closed. Recall shows a lost mode that
    variance hides (Alemohammad et al. 2023, appendix B.2). All values depend on the number of rows: compare lineages at
    the same number. None where a set has no more than `num_neighbours` rows, for tokens and for replicas.

    `tail_coverage` is the coverage of the rarest real rows, those with the largest balls, hence in the lowest density
    (Loftsgaarden & Quesenberry 1965; the rarity of Han et al. 2022, "Rarity Score"). Coverage of samples from the real
    distribution is the same at every density, so that it differs from `coverage` only where the tail is lost.

    `*_stderr` are the standard errors over the draw of both sets of rows, from disjoint random parts of them
    (`evaluate/halves.py`; a fixed deal): neighbours share balls, so that the binomial error of a share is up to three
    times too small. None where parts would have too few rows.
    """

    names: ClassVar[tuple[str, ...]] = tuple(f"{value}{suffix}" for value in VALUES for suffix in ("", "_stderr"))

    num_neighbours: int = Field(default=5, ge=1)
    """k: the ball around a row reaches its k-th nearest neighbour in its own set."""
    max_samples: int = Field(default=2000, ge=2)
    """Rows kept of each set, those with the smallest hashes of sample_id; cost grows with its square."""
    tail_fraction: float = Field(default=0.1, gt=0, le=1)
    """Share of the real rows that make the tail; at least one row."""

    def empty(self, payload: Payload) -> Summary | None:
        return PrecisionRecall(payload, self) if has_features(payload) else None


class PrecisionRecall(Summary):
    """The rows kept of both sets."""

    def __init__(self, payload: Payload, spec: Spec) -> None:
        self.spec = spec
        self.real = Subsample(payload, spec.max_samples)
        self.synthetic = Subsample(payload, spec.max_samples)

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(sample_ids, payload)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(sample_ids, payload)

    def merge(self, other: Self) -> None:
        self.real.merge(other.real)
        self.synthetic.merge(other.synthetic)

    def compute(self) -> dict[str, float | None]:
        if not len(self.real.rows) or not len(self.synthetic.rows):
            return dict.fromkeys(Spec.names)
        sets = Sets.of(self.real.rows, self.synthetic.rows)
        whole = sets.values(self.spec)
        errors = _errors(sets, self.spec, whole)
        stderrs = {f"{name}_stderr": errors.get(name) for name in VALUES}
        return {**{name: whole.get(name) for name in VALUES}, **stderrs}


@dataclass(frozen=True, eq=False)
class Sets:
    """Distances within N real rows (N, N), within M synthetic rows (M, M), and between them (N, M).

    A row is infinitely far from itself.
    """

    real: np.ndarray
    synthetic: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray, synthetic: np.ndarray) -> Self:
        return cls(_others(real), _others(synthetic), _distances(real, synthetic))

    def part(self, real: np.ndarray, synthetic: np.ndarray) -> "Sets":
        """Of some rows of each, by number."""
        return Sets(
            _submatrix(self.real, real, real),
            _submatrix(self.synthetic, synthetic, synthetic),
            _submatrix(self.between, real, synthetic),
        )

    def values(self, spec: Spec) -> dict[str, float]:
        """Those that are defined."""
        k, (num_real, num_synthetic) = spec.num_neighbours, self.between.shape
        values = {}
        if num_real > k:
            radii = _radii(self.real, k)
            in_real_ball = self.between <= radii[:, None]
            covered = np.any(in_real_ball, axis=1)
            tail = np.argsort(radii, kind="stable")[-_num_tail(num_real, spec) :]
            values["precision"] = float(in_real_ball.any(axis=0).mean())
            values["density"] = float(np.count_nonzero(in_real_ball) / num_synthetic / k)
            values["coverage"] = float(covered.mean())
            values["tail_coverage"] = float(covered[tail].mean())
        if num_synthetic > k:
            in_synthetic_ball = self.between <= _radii(self.synthetic, k)[None, :]
            values["recall"] = float(in_synthetic_ball.any(axis=1).mean())
        return values


def _errors(sets: Sets, spec: Spec, whole: dict[str, float]) -> dict[str, float | None]:
    """Standard errors, from values within parts that are dealt at random, several times."""
    num_real, num_synthetic = sets.between.shape
    smaller = min(num_real, num_synthetic)
    num_parts = min(max(smaller // ROWS_PER_PART, 2), MAX_PARTS)
    if smaller // num_parts <= spec.num_neighbours:
        return {}
    rng = noise.generator("parts of precision_recall")
    dealt = []
    for _ in range(NUM_DEALS):
        hands = zip(*(_deal(num, num_parts, rng) for num in sets.between.shape), strict=True)
        dealt.append([sets.part(*hand).values(spec) for hand in hands])
    parts = {name: np.array([[part[name] for part in deal] for deal in dealt]) for name in whole}
    nums = {"precision": num_synthetic, "tail_coverage": _num_tail(num_real, spec)}
    errors = {
        name: share_stderr(Share(whole[name], num := nums.get(name, num_real)), parts[name], num / num_parts)
        for name in whole
        if name != "density"
    }
    # Not a share: its error is relative to its value, which grows or falls with the number of rows.
    spread, mean = parts["density"].var(axis=1, ddof=1).mean(), parts["density"].mean()
    errors["density"] = float(math.sqrt(spread / num_parts) * whole["density"] / mean) if mean else None
    return errors


def _deal(num: int, num_parts: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All numbers below `num` in random parts, each in order."""
    return [np.sort(part) for part in np.array_split(rng.permutation(num), num_parts)]


def _submatrix(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """In two steps, which read along rows: six times faster than `np.ix_`."""
    return matrix[rows].take(columns, axis=1)


def _num_tail(num_real: int, spec: Spec) -> int:
    return max(round(spec.tail_fraction * num_real), 1)


def _others(rows: np.ndarray) -> np.ndarray:
    distances = _distances(rows, rows)
    np.fill_diagonal(distances, np.inf)
    return distances


def _radii(distances: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Distance (N,) from each row to its k-th nearest neighbour among the others, from distances (N, N)."""
    return np.partition(distances, num_neighbours - 1, axis=1)[:, num_neighbours - 1]


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, M), without cancellation, so that closed balls hold copies of a row.

    Pixels stay integers of 0 to 255, for which scikit-learn's expansion into a matrix product is exact and fast; for
    vectors that expansion loses distances below 1e-8 of the norm, so differences are taken one by one.
    """
    if left.dtype == np.uint8:
        return euclidean_distances(left.astype(np.float64), right.astype(np.float64))
    return cdist(left, right)
