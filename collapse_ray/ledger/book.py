"""The ledger without Ray: takes numbered batches, sums them up, and makes them durable a segment at a time.

A batch counts once: what comes twice is dropped by its number, what comes after a hole is refused until the hole is
filled, and a new ledger on the same store goes on where the segments end. What was taken and not yet written is lost
with the process; its meter still has it, because only what is in a segment is acknowledged as durable.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.batch import Ack, Batch, Resume
from collapse_ray.ledger.compact import MAX_SEGMENTS, compact
from collapse_ray.ledger.journal import Journal
from collapse_ray.ledger.pending import Pending, summed_by, tables_of
from collapse_ray.ledger.query import Group, Sums, read_ledger
from collapse_ray.ledger.rows import ACCOUNT, MARK, TOTAL, Row, Rows, marks_of, rows_of, totals_of
from collapse_ray.ledger.tables import latest, of_kind, stacked


@dataclass(slots=True)
class _Meter:
    """How far the ledger has come with a meter."""

    node: str
    taken: int = 0
    durable: int = 0
    closed: bool = False


@dataclass(slots=True)
class _Node:
    """What the next meter of a node takes over, each with the time when the ledger took it."""

    totals: dict[str, tuple[float, Row]] = field(default_factory=dict)
    marks: tuple[float, Sequence[Row]] = (0.0, ())

    def learn_totals(self, taken_unix_s: float, totals: Iterable[Row]) -> None:
        """Takes what is not older than what is known."""
        for total in totals:
            if total[0] not in self.totals or taken_unix_s >= self.totals[total[0]][0]:
                self.totals[total[0]] = (taken_unix_s, total)

    def learn_marks(self, taken_unix_s: float, marks: Sequence[Row]) -> None:
        """Takes them where they are not older than what is known."""
        if taken_unix_s >= self.marks[0]:
            self.marks = (taken_unix_s, marks)

    def forget(self, pending: Pending) -> None:
        """What these batches said was not written."""
        for device in pending.totals:
            self.totals.pop(device, None)
        self.marks = (0.0, ())


LIVE = ("kind", "sweep", "lineage", "stage")


class Book:
    """One ledger of a store. Its methods may be called from several threads; those that write wait for each other.

    Args:
        store: whose journal it continues.
        clock: seconds since 1970.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._read: tuple[frozenset[str], dict[Group, Sums]] | None = None
        """What `totals` read last, and of which segments."""
        self._journal = Journal(store, clock)
        self._meters: dict[str, _Meter] = {}
        self._nodes: dict[str, _Node] = {}
        self._pending: dict[str, Pending] = {}
        self._writing = threading.Lock()
        self._memory = threading.Lock()
        """Held for microseconds: a batch never waits for a segment to be written."""
        self._unsettled: dict[str, int] = {}
        """Last batches that are in a segment, of which is not known yet whether another ledger was faster."""
        self._absorb()

    def submit(self, batch: Batch) -> Ack:
        """Takes a batch; see `take`."""
        return self.take(rows_of(batch))

    def take(self, rows: Rows) -> Ack:
        """Takes the next batch of a meter.

        Returns:
            What is durable of this meter. A batch that was taken before, or that comes after a hole, changes nothing:
            where `durable` stays behind, send again all that follows it. A meter whose node was taken over is told to
            forget what it sends: the meter after it counts these joules.
        """
        with self._memory:
            now = self._clock()
            meter = self._meters.get(rows.meter) or _Meter(rows.node)
            if meter.closed:
                return Ack(rows.number, now)
            if rows.number == meter.taken + 1:
                meter.taken = rows.number
                self._meters[rows.meter] = meter
                pending = self._pending.get(rows.meter)
                if pending is None:
                    pending = Pending(rows.meter, rows.node, rows.number, rows.number, now)
                    self._pending[rows.meter] = pending
                pending.add(rows, now)
                node = self._node(rows.node)
                node.learn_totals(now, rows.totals)
                node.learn_marks(now, rows.marks)
            return Ack(meter.durable, now)

    def flush(self) -> None:
        """Makes all that was taken durable.

        Raises:
            StoreError: the segment could not be written; its batches are kept, and the next flush tries again.
        """
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        self._absorb()
        with self._memory:
            cut, self._pending = self._pending, {}
        if not cut:
            return
        try:
            self._journal.write(*tables_of(cut.values()))
        except BaseException:
            self._restore(cut)
            raise
        self._unsettled |= {name: pending.last for name, pending in cut.items()}
        self._absorb()

    def _restore(self, cut: dict[str, Pending]) -> None:
        with self._memory:
            for name, later in self._pending.items():
                if name in cut:
                    cut[name].extend(later)
                else:
                    cut[name] = later
            self._pending = cut

    def resume(self, node: str, meter: str | None = None) -> Resume:
        """What the next meter of a node takes over, after all of it was made durable.

        Args:
            node: the meter's.
            meter: the name of the one that takes over: what any other of this node sends from now on is not counted,
                because this one counts it. None only looks.

        Raises:
            StoreError: the segment could not be written; ask again.
        """
        with self._writing:
            if meter is not None:
                self._absorb()
                self._close_others(node, meter)
            self._flush()
            with self._memory:
                found = self._nodes.get(node, _Node())
                return Resume(totals_of(total for _, total in found.totals.values()), marks_of(found.marks[1]))

    def _close_others(self, node: str, successor: str) -> None:
        with self._memory:
            for name, meter in self._meters.items():
                if meter.node == node and name != successor and not meter.closed:
                    meter.closed = True
                    self._end(name, meter)

    def _end(self, name: str, meter: _Meter) -> None:
        """Notes in the next segment that a meter is closed."""
        empty = Pending(name, meter.node, meter.durable + 1, meter.durable, self._clock())
        self._pending.setdefault(name, empty).closed = True

    def totals(self) -> dict[Group, Sums]:
        """Energy and time so far by (kind, sweep, lineage, stage) and quality, those not yet durable included.

        Raises:
            StoreError: the journal cannot be read.
        """
        with self._writing:
            self._absorb()
            segments = frozenset(self._journal.known)
            if self._read is None or self._read[0] != segments:
                self._read = (segments, read_ledger(self._store).sums(LIVE))
            with self._memory:
                return summed_by(LIVE, self._read[1], self._pending.values())

    def compact(self, least: int = MAX_SEGMENTS + 1) -> bool:
        """Merges segments where there are at least so many; whether it did.

        Raises:
            StoreError: the store cannot be used; nothing is lost, and it may be repeated.
        """
        with self._writing:
            self._absorb()
            return compact(self._journal, least, self._absorb)

    def close(self) -> None:
        """Makes all durable and merges what this ledger wrote; it may be used again.

        Raises:
            StoreError: see `flush` and `compact`.
        """
        self.flush()
        self.compact(least=2)

    def _absorb(self) -> bool:
        """Learns what other ledgers wrote since the last look, all of it at the start; whether there was anything.

        A ledger writes, then looks, and only then acknowledges: of two that write the same batches at once, at least
        one sees both, and they decide alike what counts.
        """
        segments = self._journal.refresh()
        with self._memory:
            for name, last in self._unsettled.items():
                self._meters[name].durable = last
            self._unsettled = {}
            if segments:
                state = stacked(segment.state for segment in segments)
                ranges = of_kind(state, "range")
                self._absorb_ranges(ranges)
                self._absorb_totals(of_kind(state, "total"))
                self._absorb_marks(of_kind(state, "mark"), ranges.filter(pc.field("last") >= pc.field("first")))
        return bool(segments)

    def _absorb_ranges(self, ranges: pa.Table) -> None:
        reached = self._journal.reached()
        for name, node, closed in zip(*(ranges[key].to_pylist() for key in ("meter", "node", "closed")), strict=True):
            meter = self._meters.setdefault(name, _Meter(node))
            meter.closed |= closed
            if reached.get(name, 0) != meter.durable:
                # Another ledger has these batches. What this one has of them cannot be told apart from what it has
                # beyond them; nothing of it was acknowledged, so the meter sends that again.
                meter.taken = meter.durable = reached.get(name, 0)
                dropped = self._pending.pop(name, None)
                if dropped is not None:
                    self._node(meter.node).forget(dropped)
                    if dropped.closed:
                        self._end(name, meter)

    def _absorb_totals(self, totals: pa.Table) -> None:
        newest = latest(totals, ["node", "device"], "taken_unix_s").select(["taken_unix_s", *TOTAL])
        for row in newest.to_pylist():
            self._node(row["node"]).learn_totals(row["taken_unix_s"], [tuple(row[name] for name in TOTAL)])

    def _absorb_marks(self, marks: pa.Table, ranges: pa.Table) -> None:
        of_range = dict[tuple[str, int], dict[Row, None]]()
        for row in marks.select(["meter", "last", *MARK]).to_pylist():
            mark = (tuple(row[name] for name in ACCOUNT), *(row[name] for name in MARK[len(ACCOUNT) :]))
            of_range.setdefault((row["meter"], row["last"]), {})[mark] = None
        newest = latest(ranges, ["node"], "taken_unix_s").select(["node", "meter", "last", "taken_unix_s"])
        for row in newest.to_pylist():
            found = of_range.get((row["meter"], row["last"]), {})
            self._node(row["node"]).learn_marks(row["taken_unix_s"], tuple(found))

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())
