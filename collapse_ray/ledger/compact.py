"""Many segments become one: entries of the same meter, account, quality, rule and hour are summed up.

The merged segment names those that it replaces. It is written first, and they are removed then. A crash in between
leaves both: readers skip what is replaced, and a later compaction removes it. A range of batches keeps its bounds or
becomes part of a longer one, so `ranges` finds the same batches before, during and after.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from collapse_ray.ledger.journal import Journal, Known
from collapse_ray.ledger.rows import ACCOUNT
from collapse_ray.ledger.segment import COLUMNS, RowKind, Segment
from collapse_ray.ledger.tables import STRIDE, codes, latest, names_in, range_ids, rows_of_kind, set_column

MAX_SEGMENTS = 60
MAX_ROWS = 1 << 20
"""At most so many rows are merged at once: a bound on memory and time. A segment of half of them is full."""
HOUR_S = 3600

_GROUP = ["meter", "last", *ACCOUNT, "quality", "rule"]
_SUMS = {"energy_uj": "sum", "duration_s": "sum", "begin_unix_s": "min", "end_unix_s": "max"}


def compact(journal: Journal, least: int, look: Callable[[], bool]) -> bool:
    """Merges segments where there are at least so many to merge; whether it did.

    Args:
        journal: which has just looked at the store.
        least: how many segments, at least two.
        look: refreshes the journal; whether other ledgers wrote anything since.

    Raises:
        StoreError: the store cannot be used, or a segment is torn; nothing is lost, and it may be repeated.
    """
    _finish(journal)
    inputs = _choose(journal, least)
    if not inputs:
        return False
    merged = journal.write(merge(journal.read(inputs)), replaces=inputs)
    journal.read([merged])  # it is the only copy soon: it must be whole
    if look():
        # What is in a segment that another ledger wrote meanwhile may fit the old ones alone.
        journal.delete([merged])
        return False
    journal.delete(inputs)
    return True


def _finish(journal: Journal) -> None:
    """Removes what a crash left of an earlier compaction."""
    removable = journal.removable()
    done = [known.header for known in journal.known.values() if known.header.life in removable]
    journal.delete(sorted(name for header in done for name in header.replaces if name in journal.known))


def _choose(journal: Journal, least: int) -> list[str]:
    """Names of the smallest segments that may be merged."""
    removable = journal.removable()

    def may(known: Known) -> bool:
        return known.header.life in removable and known.header.num_rows <= MAX_ROWS // 2

    headers = sorted((known.header for known in journal.standing() if may(known)), key=lambda header: header.num_rows)
    if len(headers) < max(least, 2):
        return []
    sizes = np.cumsum([header.num_rows for header in headers])
    return sorted(header.name for header in headers[: int(np.searchsorted(sizes, MAX_ROWS, side="right"))])


def merge(segments: Sequence[Segment]) -> dict[RowKind, pa.Table]:
    """The rows of a segment that holds all that these hold.

    Args:
        segments: without the rows of ranges that do not count.
    """
    ranges = rows_of_kind("range", segments)
    meters = names_in(ranges["meter"])
    meter, first, last = codes(ranges["meter"], meters), ranges["first"].to_numpy(), ranges["last"].to_numpy()
    order = np.lexsort((last, first, meter))
    meter, first, last, ranges = meter[order], first[order], last[order], ranges.take(order)
    starts, ends = _runs(meter, first, last)
    ids = meter * STRIDE + last
    run_ends = np.repeat(last[ends], ends - starts + 1)
    closed = np.logical_or.reduceat(ranges["closed"].to_numpy(), starts) if len(starts) else np.empty(0, bool)

    def moved(kind: RowKind, rows: pa.Table) -> pa.Table:
        """Rows as of the run that their range became part of."""
        return set_column(kind, rows, "last", run_ends[np.searchsorted(ids, range_ids(rows, meters))])

    totals = latest(rows_of_kind("total", segments), ["meter", "device"], "last")
    marks = rows_of_kind("mark", segments)
    newest = range_ids(latest(ranges, ["meter"], "last"), meters)
    marks = marks.filter(pa.array(np.isin(range_ids(marks, meters), newest)))
    return {
        "range": set_column("range", set_column("range", ranges.take(ends), "first", first[starts]), "closed", closed),
        "total": moved("total", totals),
        "mark": moved("mark", marks),
        "gap": moved("gap", rows_of_kind("gap", segments)),
        "entry": _summed(moved("entry", rows_of_kind("entry", segments))),
    }


def _runs(meter: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ranges that follow one another begin and end, given sorted ranges."""
    follows = (meter[1:] == meter[:-1]) & (first[1:] == last[:-1] + 1)
    starts = np.flatnonzero(np.append(True, ~follows)) if len(meter) else np.empty(0, np.int64)
    return starts, np.append(starts[1:], len(meter))[: len(starts)] - 1


def _summed(entries: pa.Table) -> pa.Table:
    """Entries by hour: that in which each began."""
    hours = entries["begin_unix_s"].to_numpy() // HOUR_S
    by = entries.append_column("hour", pa.array(hours)).group_by([*_GROUP, "hour"], use_threads=False)
    sums = by.aggregate(list(_SUMS.items()))
    names = {f"{name}_{how}": name for name, how in _SUMS.items()}
    return sums.rename_columns([names.get(name, name) for name in sums.column_names]).select(list(COLUMNS["entry"]))
