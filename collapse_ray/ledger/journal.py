"""The segments of a store: what anyone reads of them, and what one ledger adds to them.

A store may have several ledgers at once: one that hangs, and the one started in its place. They do not lock. Each
writes files of names of its own, and `ranges` tells what counts. A segment is removed by the ledger that wrote it,
and by others only when that one has written nothing for `SILENT_S`.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
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
    SCHEMA,
    Header,
    Segment,
    TornSegment,
    decode,
    encode,
    ordinal_of,
    segment_name,
)
from collapse_ray.ledger.tables import latest, of_kind, range_ids, stacked

SILENT_S = 3600.0
_READERS = 8
_TRIES = 10
_RANGE_COLUMNS = ["meter", "first", "last", "closed"]

log = logging.getLogger(__name__)


def list_segments(store: Store) -> list[str]:
    """Names of all segments, sorted."""
    names = (path.rpartition("/")[2] for path in store.list_documents(FOLDER))
    return sorted(name for name in names if name.startswith("segment-") and name.endswith(".parquet"))


def read_segments(
    store: Store, columns: Sequence[str] | None = None, *, entries: bool = True
) -> tuple[list[Segment], list[TornSegment]]:
    """The segments of one moment that no other replaces, and what could not be read.

    Raises:
        StoreError: the store cannot be read, or its segments changed at every look.
    """
    for _ in range(_TRIES):
        names = list_segments(store)
        found = _read_all(store, names, columns, entries=entries)
        # A ledger that merges segments writes the new one, then removes the old ones: between the two looks both or
        # neither may have been seen.
        if list_segments(store) == names and all(one is not None for one in found):
            whole = [one for one in found if isinstance(one, Segment)]
            replaced = frozenset[str]().union(*(segment.header.replaces for segment in whole))
            torn = [one for one in found if isinstance(one, TornSegment)]
            return [segment for segment in whole if segment.header.name not in replaced], torn
    raise StoreError(f"{FOLDER}/ in the store {store} changed at each of {_TRIES} looks; try again")


def _read_all(
    store: Store, names: Sequence[str], columns: Sequence[str] | None, *, entries: bool
) -> list[Segment | TornSegment | None]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(partial(_read, store, columns=columns, entries=entries), names))


def _read(store: Store, name: str, columns: Sequence[str] | None, *, entries: bool) -> Segment | TornSegment | None:
    """None where another process removed it meanwhile."""
    content = store.read_document(f"{FOLDER}/{name}")
    if content is None:
        return None
    try:
        return decode(name, content, columns, entries=entries)
    except TornSegment as torn:
        return torn


def counted(segments: Sequence[Segment], ranges: Sequence[pa.Table], counts: np.ndarray) -> list[Segment]:
    """The segments without the rows of ranges that do not count; closing ranges stay.

    Args:
        segments: to filter.
        ranges: the range rows of each.
        counts: `counting` of these, one after the other.
    """
    result, start = [], 0
    for segment, rows in zip(segments, ranges, strict=True):
        mask = counts[start : start + rows.num_rows]
        start += rows.num_rows
        result.append(segment if mask.all() else _without(segment, range_ids(rows)[mask]))
    return result


def _without(segment: Segment, ids: np.ndarray) -> Segment:
    closes = segment.state["closed"].fill_null(False).to_numpy()
    keep = np.isin(range_ids(segment.state), ids) | closes
    kept = segment.entries.filter(pa.array(np.isin(range_ids(segment.entries), ids)))
    return replace(segment, state=segment.state.filter(pa.array(keep)), entries=kept)


@dataclass(frozen=True)
class Known:
    """A segment that this ledger has looked at."""

    header: Header
    ranges: pa.Table


def _known(segment: Segment) -> Known:
    return Known(segment.header, of_kind(segment.state, "range").select(_RANGE_COLUMNS))


class Journal:
    """The segments as one ledger sees and writes them."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.life = uuid.uuid4().hex[:12]
        self.known: dict[str, Known] = {}
        self._store = store
        self._clock = clock
        self._torn: set[str] = set()

    def refresh(self) -> list[Segment]:
        """Looks at the store again; the state of segments that appeared since, of other ledgers, without entries.

        A torn segment is named in the log and left where it is: reading the store names it again.
        """
        names = list_segments(self._store)
        new = [name for name in names if name not in self.known and name not in self._torn]
        found = _read_all(self._store, new, None, entries=False)
        segments = [one for one in found if isinstance(one, Segment)]
        for name, one in zip(new, found, strict=True):
            if isinstance(one, TornSegment):
                self._torn.add(name)
                log.error("%s", one)
        present = frozenset(names)
        self.known = {name: known for name, known in self.known.items() if name in present}
        self.known |= {
            one.header.name: Known(one.header, of_kind(one.state, "range").select(_RANGE_COLUMNS)) for one in segments
        }
        return segments

    def write(self, state: pa.Table, entries: pa.Table, replaces: Collection[str] = ()) -> str:
        """Adds a segment; when this returns, it is durable.

        Raises:
            StoreError: it could not be written.
        """
        ordinal = 1 + max((ordinal_of(name) for name in self.known), default=0)
        name = segment_name(ordinal, self.life)
        written_unix_s = self._clock()
        content = encode(state, entries, self.life, written_unix_s, replaces)
        self._store.write_document(f"{FOLDER}/{name}", content, sync=True)
        num_rows = state.num_rows + entries.num_rows
        header = Header(name, self.life, written_unix_s, frozenset(replaces), state.num_rows, num_rows)
        self.known[name] = _known(Segment(header, state, entries))
        return name

    def read(self, names: Sequence[str]) -> list[Segment]:
        """Whole segments, with the rows that count among all that is known.

        Raises:
            StoreError: one is torn, or is no longer there.
        """
        whole = []
        for name, one in zip(names, _read_all(self._store, names, SCHEMA.names, entries=True), strict=True):
            if isinstance(one, TornSegment):
                raise one
            if one is None:
                raise StoreError(f"{FOLDER}/{name} was removed by another ledger")
            whole.append(one)
        standing = self.standing()
        counts = counting(stacked(known.ranges for known in standing))
        ends = np.cumsum([0, *(known.ranges.num_rows for known in standing)])
        masks = {known.header.name: counts[ends[i] : ends[i + 1]] for i, known in enumerate(standing)}
        return counted(
            whole, [of_kind(one.state, "range") for one in whole], np.concatenate([masks[name] for name in names])
        )

    def reached(self) -> dict[str, int]:
        """The last batch of each meter that counts."""
        ranges = stacked(known.ranges for known in self.standing())
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
