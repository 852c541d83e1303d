"""Which ranges of batches count, so that each batch counts once whatever was written twice.

Two segments may hold the same batches: those of two ledgers to which a meter sent them (one hung, another was started),
or a merged segment and what it was merged from. What a segment holds of a meter is summed up and can no longer be taken
apart, so a range counts as a whole or not at all. Of the ranges of a meter those count that do not overlap and together
hold the most batches; among equals, the fewest. This finds the whole sequence wherever the segments hold one, in any
order and without knowing who wrote them, and loses the least where they do not.

A meter is closed where another took its node over: what it counted until then is final, and what another ledger still
took from it afterwards is not, because the new meter counts it, too.
"""

from bisect import bisect_left

import numpy as np
import pyarrow as pa

from collapse_ray.ledger.tables import STRIDE, codes, names_in


def counting(ranges: pa.Table) -> np.ndarray:
    """Which of the range rows of all segments count.

    Args:
        ranges: columns `meter`, `first`, `last`, `closed`.

    Returns:
        bool [num_rows]; empty ranges, which only say that a meter is there or closed, do not count.
    """
    meter = codes(ranges["meter"], names_in(ranges["meter"]))
    first, last, closed = (ranges[name].to_numpy() for name in ("first", "last", "closed"))
    limits = np.full(meter.max(initial=-1) + 1, STRIDE)
    np.minimum.at(limits, meter[closed], last[closed])
    counts = (first <= last) & (last <= limits[meter])
    order = np.lexsort((last, first, meter))
    order = order[counts[order]]
    overlap = (meter[order[1:]] == meter[order[:-1]]) & (first[order[1:]] <= last[order[:-1]])
    for one in np.unique(meter[order[1:]][overlap]):
        rows = order[meter[order] == one]
        counts[rows] = False
        counts[rows[_cover(first[rows], last[rows])]] = True
    return counts


def _cover(first: np.ndarray, last: np.ndarray) -> list[int]:
    """Weighted interval scheduling: the disjoint ranges of most batches, of these the fewest ranges."""
    order = sorted(range(len(first)), key=lambda index: (last[index], first[index]))
    ends = [int(last[index]) for index in order]
    best: list[tuple[int, int]] = [(0, 0)]  # (batches, -ranges) by how many of the ranges in `order` may be used
    before = list[int]()
    for position, index in enumerate(order):
        before.append(bisect_left(ends, int(first[index]), hi=position))
        batches, minus_ranges = best[before[-1]]
        best.append(max(best[-1], (batches + ends[position] - int(first[index]) + 1, minus_ranges - 1)))
    chosen = list[int]()
    position = len(order)
    while position:
        if best[position] == best[position - 1]:
            position -= 1
        else:
            chosen.append(order[position - 1])
            position = before[position - 1]
    return chosen
