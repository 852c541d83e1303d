"""How often each type occurs, and in which rows: what metrics of tokens are made of."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from collapse_ray.evaluate.halves import NUM_GROUPS, group_of, in_mask

GROUP_BITS = 6
TYPE_BITS = 57
"""A type is a number below 2**57, so that an entry fits into 63 bits."""


class Occurrences:
    """Types in a stream of rows, counted by group of rows; merging in any order gives the same counts."""

    def __init__(self) -> None:
        self.sizes = np.zeros(NUM_GROUPS, np.int64)
        self._counted: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, sample_ids: np.ndarray, types: np.ndarray) -> None:
        """Adds what occurs: types (N,) in [0, 2**57), each with the id (N,) of its row."""
        groups = group_of(sample_ids)
        self.sizes += np.bincount(groups, minlength=NUM_GROUPS)
        entries = np.sort(types.astype(np.int64) << GROUP_BITS | groups)
        starts = _starts(entries)
        self._add(entries[starts], np.diff(starts, append=len(entries)))

    def merge(self, other: Self) -> None:
        """Adds what another has seen."""
        self.sizes = self.sizes + other.sizes
        self._add(*other._whole())

    def table(self) -> "Table":
        """All that was seen."""
        return Table(*self._whole())

    def total(self, groups: np.uint64) -> int:
        """Number of occurrences in these groups."""
        return int(self.sizes[in_mask(groups)].sum())

    def _add(self, entries: np.ndarray, counts: np.ndarray) -> None:
        """Counts are merged once the new ones are as many as the oldest, so that no entry is sorted often."""
        self._counted.append((entries, counts))
        if sum(len(new) for new, _ in self._counted[1:]) >= len(self._counted[0][0]):
            self._whole()

    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Entries (E,), ascending, and their counts (E,)."""
        if len(self._counted) != 1:
            entries = np.concatenate([np.empty(0, np.int64), *(entries for entries, _ in self._counted)])
            counts = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in self._counted)])
            order = np.argsort(entries)
            starts = _starts(entries[order])
            self._counted = [(entries[order][starts], _sums(counts[order], starts))]
        return self._counted[0]


@dataclass(frozen=True, eq=False)
class Table:
    """V types in E entries, one for each group of rows in which a type occurs."""

    entries: np.ndarray
    """(E,) numbers type * 64 + group, ascending."""
    entry_counts: np.ndarray
    """(E,) occurrences."""

    @cached_property
    def types(self) -> np.ndarray:
        """(V,), ascending."""
        return self.entries[self._first] >> GROUP_BITS

    @cached_property
    def entry_masks(self) -> np.ndarray:
        """Mask (E,) of the group of each entry."""
        return np.uint64(1) << (self.entries & (NUM_GROUPS - 1)).astype(np.uint64)

    @cached_property
    def groups(self) -> np.ndarray:
        """Masks (V,) of the groups in which each type occurs."""
        return np.bitwise_or.reduceat(self.entry_masks, self._first) if len(self.entries) else self.entry_masks

    def counts_in(self, groups: np.uint64) -> np.ndarray:
        """Occurrences (V,) of each type in these groups."""
        return _sums(self.entry_counts * (self.entry_masks & groups > 0), self._first)

    @cached_property
    def _first(self) -> np.ndarray:
        """Index (V,) of the first entry of each type."""
        return _starts(self.entries >> GROUP_BITS)

    def index_of(self, types: np.ndarray) -> np.ndarray:
        """Index (W,) of each of the given types (W,); -1 where it does not occur."""
        if not len(self.types):
            return np.full(len(types), -1)
        at = np.minimum(np.searchsorted(self.types, types), len(self.types) - 1)
        return np.where(self.types[at] == types, at, -1)


def at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values (W,) of values (V,) at an index (W,); 0 at -1."""
    return np.append(values, values.dtype.type(0))[index]


def _starts(ascending: np.ndarray) -> np.ndarray:
    """Where each new value begins."""
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)])


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, starts) if len(values) else values
