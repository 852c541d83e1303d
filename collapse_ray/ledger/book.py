"""The ledger without Ray: takes numbered batches, sums them up, and makes them durable a segment at a time.

A batch counts once: what comes twice is dropped by its number, what comes after a hole is refused until the hole is
filled, and a new ledger on the same store goes on where the segments end. What was taken and not yet written is lost
with the process; its meter still has it, because only what is in a segment is acknowledged as durable.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.batch import Ack, Batch, Resume
from collapse_ray.ledger.compact import MAX_SEGMENTS, compact
from collapse_ray.ledger.journal import STATE, Journal
from collapse_ray.ledger.nodes import Nodes
from collapse_ray.ledger.pending import Pending, summed_by, tables_of
from collapse_ray.ledger.query import Group, Sums, read_ledger
from collapse_ray.ledger.rows import Rows, rows_of
from collapse_ray.ledger.tables import rows_of_kind


@dataclass(slots=True)
class _Meter:
    """How far the ledger has come with a meter."""

    node: str
    taken: int = 0
    durable: int = 0
    closed: bool = False


def nobody(durable: Pending) -> None:
    """Counts nothing."""


LIVE = ("kind", "sweep", "lineage", "stage")
"""What `Book.totals` sums up by."""


class Book:
    """One ledger of a store. Its methods may be called from several threads; those that write wait for each other.

    Args:
        store: whose journal it continues.
        clock: seconds since 1970.
        on_durable: told, in their order, of batches that have come into the journal; of each once.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float] = time.time, on_durable: Callable[[Pending], None] = nobody
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_durable = on_durable
        self._written: list[Pending] = []
        """In a segment, as far as `_unsettled`."""
        self._read: tuple[frozenset[str], dict[Group, Sums]] | None = None
        """What `totals` read last, and of which segments."""
        self._journal = Journal(store, clock)
        self._meters: dict[str, _Meter] = {}
        self._nodes = Nodes()
        self._pending: dict[str, Pending] = {}
        self._successors: dict[str, str] = {}
        """Nodes that a new meter takes over with the next segment."""
        self._writing = threading.Lock()
        self._memory = threading.Lock()
        """Never held while the store is read or written: batches are taken meanwhile."""
        self._unsettled: dict[str, int] = {}
        """Last batches that are in a segment, of which is not known yet whether another ledger was faster."""
        self._misled = False
        """What is known of nodes holds what was dropped since."""
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
                self._meters[rows.meter] = meter
                taken_unix_s = self._nodes.time_of_next(rows.node, now)
                self._note(rows.meter).add(rows, taken_unix_s)
                meter.taken = rows.number
                self._nodes.learn(rows.node, taken_unix_s, rows.totals, rows.marks)
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
            self._take_over()
            cut, self._pending = self._pending, {}
        if not cut:
            return
        try:
            self._journal.write(tables_of(cut.values()))
        except BaseException:
            self._restore(cut)
            raise
        self._unsettled |= {name: pending.last for name, pending in cut.items()}
        self._written += cut.values()
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
        if meter is not None:
            with self._memory:
                self._successors[node] = meter
        with self._writing:
            with self._memory:
                # Of many meters that start at once, the first writes for all who wait.
                mine = node in self._successors or any(pending.node == node for pending in self._pending.values())
            if mine or self._unsettled:
                self._flush()
            with self._memory:
                return self._nodes.resume(node)

    def _take_over(self) -> None:
        """Closes the meters of nodes that have a new one, and notes the new one, also where it has sent nothing yet.

        So it is known to the ledger after this one, which has to close it even if this one still has its batches.
        """
        for node, successor in self._successors.items():
            self._meters.setdefault(successor, _Meter(node))
            self._note(successor)
        for name, meter in self._meters.items():
            if not meter.closed and self._successors.get(meter.node, name) != name:
                meter.closed = self._note(name).closed = True
        self._successors = {}

    def _note(self, name: str) -> Pending:
        """What the next segment says of a meter, if only that it is there."""
        meter = self._meters[name]
        taken_unix_s = self._nodes.time_of_next(meter.node, self._clock())
        empty = Pending(name, meter.node, meter.taken + 1, meter.taken, taken_unix_s)
        return self._pending.setdefault(name, empty)

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
                self._absorb_ranges(rows_of_kind("range", segments))
                self._nodes.learn_segments(segments)
        if self._misled:
            segments = self._journal.read([known.header.name for known in self._journal.standing()], STATE)
            with self._memory:
                self._nodes = Nodes()
                self._nodes.learn_segments(segments)
                self._nodes.learn_pending(self._pending.values())
                self._misled = False
        written, self._written = self._written, []
        for pending in written:
            if self._meters[pending.meter].durable >= pending.last:  # else another ledger's count, and are told there
                self._on_durable(pending)
        return bool(segments)

    def _absorb_ranges(self, ranges: pa.Table) -> None:
        reached = self._journal.reached()
        for name, node, closed in zip(*(ranges[key].to_pylist() for key in ("meter", "node", "closed")), strict=True):
            meter = self._meters.setdefault(name, _Meter(node))
            meter.closed |= closed
            if closed or reached.get(name, 0) != meter.durable:
                # Another ledger has these batches, or told the next meter that they do not count. What this one has of
                # them cannot be told apart from what it has beyond them; nothing of it was acknowledged, so a meter
                # that goes on sends that again.
                last = reached.get(name, 0)
                dropped = self._pending.pop(name, None)
                # What it said of its node was learned when it was taken, and may be in a segment by now.
                self._misled |= dropped is not None or meter.taken > last
                meter.taken = meter.durable = last
                if dropped is not None and dropped.closed and not closed:
                    self._note(name).closed = True
