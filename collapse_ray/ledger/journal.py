"""The segments of a store: what anyone reads of them, and what one ledger adds to them.

A store may have several ledgers at once: one that hangs, and the one started in its place. They do not lock. Each
writes files of names of its own, and `ranges` tells what counts. A segment is removed by the ledger that wrote it,
and by others only when that one has written nothing for `SILENT_S`.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.ledger.ranges import counting
from collapse_ray.ledger.segment import (
    FOLDER,
    KINDS,
    Header,
    RowKind,
    Segment,
    TornSegment,
    decode,
    encode,
    ordinal_of,
    segment_name,
)
from collapse_ray.ledger.tables import latest, names_in, range_ids, rows_of_kind, set_column, stacked

SILENT_S = 3600.0
STATE: tuple[RowKind, ...] = ("range", "total", "mark")
"""What a ledger has to know of segments; the rest is for those who read them."""
_READERS = 8
_TRIES = 10

log = logging.getLogger(__name__)


def list_segments(store: Store) -> list[str]:
    """Names of all segments, sorted."""
    names = (path.rpartition("/")[2] for path in store.list_documents(FOLDER))
    return sorted(name for name in names if name.startswith("segment-") and name.endswith(".parquet"))


def read_segments(
    store: Store, kinds: Collection[RowKind] = KINDS, columns: Collection[str] | None = None
) -> tuple[list[Segment], list[TornSegment]]:
    """The segments of one moment that no other replaces, and what could not be read.

    Args:
        store: to read.
        kinds: of the rows to read.
        columns: to read of these; None for all.

    Raises:
        StoreError: the store cannot be read, or its segments changed at every look.
    """
    for _ in range(_TRIES):
        names = list_segments(store)
        found = _read_all(store, names, kinds, columns)
        # A ledger that merges segments writes the new one, then removes the old ones: between the two looks both or
        # neither may have been seen.
        if list_segments(store) == names and all(one is not None for one in found):
            whole = [one for one in found if isinstance(one, Segment)]
            replaced = frozenset[str]().union(*(segment.header.replaces for segment in whole))
            torn = [one for one in found if isinstance(one, TornSegment)]
            return [segment for segment in whole if segment.header.name not in replaced], torn
    raise StoreError(f"{FOLDER}/ in the store {store} changed at each of {_TRIES} looks; try again")


def _read_all(
    store: Store, names: Sequence[str], kinds: Collection[RowKind], columns: Collection[str] | None = None
) -> list[Segment | TornSegment | None]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(partial(_read, store, kinds=kinds, columns=columns), names))


def _read(
    store: Store, name: str, kinds: Collection[RowKind], columns: Collection[str] | None
) -> Segment | TornSegment | None:
    """None where another process removed it meanwhile."""
    content = store.read_document(f"{FOLDER}/{name}")
    if content is None:
        return None
    try:
        return decode(name, content, kinds, columns)
    except TornSegment as torn:
        return torn


def counted(segments: Sequence[Segment], counts: np.ndarray | None = None) -> list[Segment]:
    """The segments without the rows of ranges that do not count; empty ranges stay, and that a meter was closed.

    Args:
        segments: to filter.
        counts: of their range rows, one segment after the other; None where these are all there are.
    """
    if counts is None:
        counts = counting(rows_of_kind("range", segments))
    result, start = [], 0
    for segment in segments:
        ranges = segment.tables["range"]
        mask = counts[start : start + ranges.num_rows]
        start += ranges.num_rows
        result.append(segment if mask.all() else _without(segment, mask))
    return result


def _without(segment: Segment, mask: np.ndarray) -> Segment:
    ranges = segment.tables["range"]
    meters = names_in(ranges["meter"])
    ids = range_ids(ranges, meters)[mask]

    def kept(kind: RowKind, table: pa.Table) -> pa.Table:
        if kind == "range":
            first, last, closed = (table[name].to_numpy() for name in ("first", "last", "closed"))
            # Another segment has these batches, too: that the meter was closed after them, only this one may say.
            emptied = np.where(closed & ~mask, last + 1, first)
            bounds = set_column("range", table, "first", emptied)
            return bounds.filter(pa.array(mask | (last < emptied)))
        return table.filter(pa.array(np.isin(range_ids(table, meters), ids)))

    return replace(segment, tables={kind: kept(kind, table) for kind, table in segment.tables.items()})


@dataclass(frozen=True)
class Known:
    """A segment that this ledger has looked at."""

    header: Header
    ranges: pa.Table


class Journal:
    """The segments as one ledger sees and writes them."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.life = uuid.uuid4().hex[:12]
        self.known: dict[str, Known] = {}
        self._store = store
        self._clock = clock
        self._torn: set[str] = set()

    def refresh(self) -> list[Segment]:
        """Looks at the store again; what counts of segments that other ledgers wrote since, of the kinds of `STATE`.

        A torn segment is named in the log and left where it is: reading the store names it again.
        """
        names = list_segments(self._store)
        new = [name for name in names if name not in self.known and name not in self._torn]
        found = _read_all(self._store, new, STATE)
        for name, one in zip(new, found, strict=True):
            if isinstance(one, TornSegment):
                self._torn.add(name)
                log.error("%s", one)
        present = frozenset(names)
        segments = [one for one in found if isinstance(one, Segment)]
        self.known = {name: known for name, known in self.known.items() if name in present}
        self.known |= {one.header.name: Known(one.header, one.tables["range"]) for one in segments}
        return self._counted(segments) if segments else []

    def write(self, tables: Mapping[RowKind, pa.Table], replaces: Collection[str] = ()) -> str:
        """Adds a segment; when this returns, it is durable.

        Raises:
            StoreError: it could not be written.
        """
        ordinal = 1 + max((ordinal_of(name) for name in self.known), default=0)
        name = segment_name(ordinal, self.life)
        written_unix_s = self._clock()
        content = encode(tables, self.life, written_unix_s, replaces)
        self._store.write_document(f"{FOLDER}/{name}", content, sync=True)
        num_rows = sum(table.num_rows for table in tables.values())
        header = Header(name, self.life, written_unix_s, frozenset(replaces), num_rows)
        self.known[name] = Known(header, tables["range"])
        return name

    def read(self, names: Iterable[str], kinds: Collection[RowKind] = KINDS) -> list[Segment]:
        """Segments, with the rows that count among all that is known.

        Raises:
            StoreError: one is torn, or is no longer there.
        """
        names, whole = list(names), list[Segment]()
        for name, one in zip(names, _read_all(self._store, names, kinds), strict=True):
            if isinstance(one, TornSegment):
                raise one
            if one is None:
                raise StoreError(f"{FOLDER}/{name} was removed by another ledger")
            whole.append(one)
        return self._counted(whole)

    def _counted(self, segments: Sequence[Segment]) -> list[Segment]:
        masks = self._masks()
        standing = [one for one in segments if one.header.name in masks]
        return counted(standing, np.concatenate([np.empty(0, bool), *(masks[one.header.name] for one in standing)]))

    def _masks(self) -> dict[str, np.ndarray]:
        """Which range rows of each segment count."""
        standing = self.standing()
        counts = counting(stacked("range", (known.ranges for known in standing)))
        ends = np.cumsum([known.ranges.num_rows for known in standing], dtype=int)
        return {known.header.name: mask for known, mask in zip(standing, np.split(counts, ends)[:-1], strict=True)}

    def reached(self) -> dict[str, int]:
        """The last batch of each meter that counts."""
        ranges = stacked("range", (known.ranges for known in self.standing()))
        newest = latest(ranges.filter(pa.array(counting(ranges))), ["meter"], "last").select(["meter", "last"])
        return {row["meter"]: row["last"] for row in newest.to_pylist()}

    def standing(self) -> list[Known]:
        """The known segments that no other replaces."""
        replaced = frozenset[str]().union(*(known.header.replaces for known in self.known.values()))
        return [known for name, known in sorted(self.known.items()) if name not in replaced]

    def delete(self, names: Iterable[str]) -> None:
        """Removes segments; may be repeated."""
        for name in names:
            self._store.delete_folder(f"{FOLDER}/{name}")
            self.known.pop(name, None)

    def removable(self) -> frozenset[str]:
        """The lives whose segments this ledger may replace: its own, and those that have been silent for long."""
        newest: dict[str, float] = {}
        for known in self.known.values():
            newest[known.header.life] = max(newest.get(known.header.life, 0.0), known.header.written_unix_s)
        silent = {life for life, written in newest.items() if self._clock() - written > SILENT_S}
        return frozenset(silent | {self.life})
