"""Diversity of generated text."""

from typing import ClassVar, Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary

ORDERS = (1, 2, 3)


class Spec(MetricSpec):
    """Distinct n-grams over all n-grams of the synthetic samples (Li et al. 2016); n-grams do not cross samples.

    The value falls as more tokens are evaluated: compare lineages at the same number of samples of the same length.
    """

    names: ClassVar[tuple[str, ...]] = tuple(f"distinct_{n}" for n in ORDERS)

    def empty(self, payload: Payload) -> Summary | None:
        return None if payload.vocab_size is None else DistinctN(payload.vocab_size)


class DistinctN(Summary):
    """For each n, the n-grams seen, as sorted codes, and how many there were."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.seen = {n: np.empty(0, np.int64) for n in ORDERS}
        self.num_ngrams = dict.fromkeys(ORDERS, 0)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        num_tokens = payload.shape[1]
        for n in ORDERS:
            if num_tokens >= n:
                codes = self._codes(payload, n)
                self.seen[n] = np.union1d(self.seen[n], codes)
                self.num_ngrams[n] += codes.size

    def merge(self, other: Self) -> None:
        for n in ORDERS:
            self.seen[n] = np.union1d(self.seen[n], other.seen[n])
            self.num_ngrams[n] += other.num_ngrams[n]

    def compute(self) -> dict[str, float | None]:
        return {f"distinct_{n}": len(self.seen[n]) / self.num_ngrams[n] if self.num_ngrams[n] else None for n in ORDERS}

    def _codes(self, tokens: np.ndarray, n: int) -> np.ndarray:
        """Each n-gram of (B, T) as one number in base `vocab_size`; 64 bits hold three digits of up to 2**21."""
        digits = self.vocab_size ** np.arange(n, dtype=np.int64)
        return np.lib.stride_tricks.sliding_window_view(tokens.astype(np.int64), n, axis=1) @ digits
