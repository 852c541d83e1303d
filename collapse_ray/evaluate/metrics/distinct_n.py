"""Diversity of generated text."""

from functools import partial
from typing import ClassVar, Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import ALL_GROUPS, Share, even_halves, share_stderr_of_halves
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.ngrams import update_ngrams
from collapse_ray.evaluate.occurrences import Occurrences

ORDERS = (1, 2, 3)


class Spec(MetricSpec):
    """Distinct n-grams over all n-grams of the synthetic samples (Li et al. 2016); n-grams do not cross samples.

    The value falls as more tokens are evaluated: compare lineages at the same number of samples of the same length.
    `distinct_*_stderr` is the standard error over the draw of the samples (`evaluate/halves.py`); too large where
    nearly all types occur many times, as single bytes do.
    """

    names: ClassVar[tuple[str, ...]] = tuple(f"distinct_{n}{suffix}" for n in ORDERS for suffix in ("", "_stderr"))

    def empty(self, payload: Payload) -> Summary | None:
        return None if payload.vocab_size is None else DistinctN(payload.vocab_size)


class DistinctN(Summary):
    """The n-grams seen, for each n."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.seen = {n: Occurrences() for n in ORDERS}

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        for n, seen in self.seen.items():
            update_ngrams(seen, sample_ids, payload, n, self.vocab_size)

    def merge(self, other: Self) -> None:
        for n, seen in self.seen.items():
            seen.merge(other.seen[n])

    def compute(self) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for n, seen in self.seen.items():
            distinct = partial(_distinct, seen, seen.table().groups)
            values[f"distinct_{n}"] = distinct(ALL_GROUPS).value
            values[f"distinct_{n}_stderr"] = share_stderr_of_halves(distinct, even_halves(seen.sizes))
        return values


def _distinct(seen: Occurrences, groups_of_types: np.ndarray, groups: np.uint64) -> Share:
    """The share of what occurs in these groups that occurs for the first time."""
    total = seen.total(groups)
    return Share(int(np.count_nonzero(groups_of_types & groups)) / total if total else None, total)
