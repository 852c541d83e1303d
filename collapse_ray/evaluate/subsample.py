"""A bounded set of rows that does not depend on the order in which, or the rank where, rows were seen."""

from typing import Self

import numpy as np

from collapse_ray.config.payload import Payload


class Subsample:
    """The flattened rows with the smallest hashes of their sample_ids (a bottom-k sample, Cohen & Kaplan 2007).

    A row kept of the whole is kept in every part that holds it, so merging parts is exact. `rows` is (N, D) in the
    payload's dtype, ordered by hash, N <= `max_rows`.
    """

    def __init__(self, payload: Payload, max_rows: int) -> None:
        self.max_rows = max_rows
        self.hashes = np.empty(0, np.uint64)
        self.rows = np.empty((0, payload.size), payload.dtype)

    def update(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        """Adds rows (B, *shape) with distinct ids (B,)."""
        self._keep(mixed(sample_ids), payload.reshape(-1, self.rows.shape[1]))

    def merge(self, other: Self) -> None:
        """Adds the rows that another has kept."""
        self._keep(other.hashes, other.rows)

    def _keep(self, hashes: np.ndarray, rows: np.ndarray) -> None:
        if len(self.hashes) == self.max_rows:
            # Of a long stream few rows enter: the others are never copied.
            entering = hashes < self.hashes[-1]
            if not entering.any():
                return
            hashes, rows = hashes[entering], rows[entering]
        hashes = np.concatenate([self.hashes, hashes])
        kept = np.argsort(hashes, kind="stable")[: self.max_rows]
        self.hashes = hashes[kept]
        self.rows = np.concatenate([self.rows, rows])[kept]


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Hashes, uint64: SplitMix64's finaliser (Steele, Lea & Flood 2014): a bijection, so distinct numbers never tie."""
    x = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
