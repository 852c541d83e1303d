"""Standard errors of statistics that have no formula: from the halves, or smaller parts, of the rows they are made of.

Two disjoint parts of independent rows are independent, so what a statistic differs by between them is its own sampling
error at their size (random groups: Wolter 2007, "Introduction to Variance Estimation", chapter 2). Deleting rows one by
one would be cheaper and wrong here: a jackknife counts what k rows do together k times (Efron & Stein 1981), which for
balls of nearest neighbours and for types that occur at all makes it up to three times too large.

A statistic of counts takes 32 balanced half-samples of 64 groups of rows (McCarthy 1969), the differences of which are
uncorrelated, so that the error is known to 13 %.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.linalg import hadamard

NUM_GROUPS = 64
"""One bit each of a 64-bit mask."""

Value = TypeVar("Value")

ALL_GROUPS = np.uint64(2**NUM_GROUPS - 1)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio."""


def group_of(sample_ids: np.ndarray) -> np.ndarray:
    """Group (B,) in [0, 64) of each row, a function of its id (B,) alone.

    The fractional part of the id times the golden ratio: groups of consecutive ids have nearly the same size (unlike
    those of a hash), and what recurs in them at any period falls into all groups alike (unlike id modulo 64).
    """
    return ((sample_ids.astype(np.uint64) * GOLDEN) >> np.uint64(58)).astype(np.int64)


def half_samples() -> np.ndarray:
    """Masks (32, 2) of groups: each half and its complement. Any two halves share half of their groups."""
    chosen = hadamard(NUM_GROUPS)[1::2] > 0
    halves = (chosen.astype(np.uint64) << np.arange(NUM_GROUPS, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return np.stack([halves, ~halves], axis=1)


def in_mask(mask: np.uint64) -> np.ndarray:
    """Which groups (64,) a mask holds."""
    return (mask >> np.arange(NUM_GROUPS, dtype=np.uint64)) & np.uint64(1) > 0


def even_halves(*sizes: np.ndarray) -> np.ndarray:
    """Those half-samples (S, 2) that halve every set of rows, whose groups have the sizes (64,), up to a tenth.

    None of them do where a set has a single row: S is then 0.
    """
    halves = half_samples()
    first = np.array([in_mask(half) for half in halves[:, 0]])
    even = np.ones(len(halves), bool)
    for size in sizes:
        kept = first @ size
        even &= (np.abs(2 * kept - size.sum()) <= size.sum() / 10) & (kept > 0) & (kept < size.sum())
    return halves[even]


@dataclass(frozen=True)
class Share:
    """A share in [0, 1] of `num` things; None where there are none."""

    value: float | None
    num: float


def share_stderr_of_halves(share: Callable[[np.uint64], Share], halves: np.ndarray) -> float | None:
    """Standard error of `share(ALL_GROUPS)`, from the shares within half-samples (S, 2)."""
    found = _on_halves(share, lambda half: half.value is not None, halves)
    if not found:
        return None
    values = np.array([[half.value for half in pair] for pair in found], np.float64)
    return share_stderr(share(ALL_GROUPS), values, float(np.mean([half.num for pair in found for half in pair])))


def stderr_of_halves(statistic: Callable[[np.uint64], float | None], halves: np.ndarray) -> float | None:
    """Standard error of `statistic(ALL_GROUPS)`, from its values on half-samples (S, 2), as if it fell as 1/sqrt(N)."""
    found = _on_halves(statistic, lambda value: value is not None, halves)
    return float(np.sqrt(np.var(np.array(found, np.float64), axis=1, ddof=1).mean() / 2)) if found else None


def _on_halves(
    statistic: Callable[[np.uint64], Value], is_known: Callable[[Value], bool], halves: np.ndarray
) -> list[list[Value]]:
    """Pairs of values, where both are known."""
    pairs = [[statistic(half) for half in pair] for pair in halves]
    return [pair for pair in pairs if all(map(is_known, pair))]


def share_stderr(whole: Share, parts: np.ndarray, part_num: float) -> float | None:
    """Standard error of a share from its values (R, P) on P disjoint parts, in R ways; each part has `part_num` things.

    A share of more rows is another one: where all types are found, say, there is no error left. So what is taken from
    the parts is their design effect, the variance over that of independent things, p (1 - p) / num (Kish 1965). A share
    of 0 or 1 has the error of a share that is off by one thing.
    """
    if whole.value is None or whole.num < 2:
        return None
    between, mean = parts.var(axis=1, ddof=1).mean(), parts.mean()
    effect = between * part_num / (mean * (1 - mean)) if 0 < mean < 1 else 1.0
    one = 1 / whole.num
    value = np.clip(whole.value, one, 1 - one)
    return float(np.sqrt(effect * value * (1 - value) / whole.num))
