"""What the next meter of a node takes over: how far each device was settled, and the work that goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_ray.ledger.batch import Resume
from collapse_ray.ledger.pending import Pending
from collapse_ray.ledger.rows import ACCOUNT, MARK, TOTAL, Row, marks_of, totals_of
from collapse_ray.ledger.segment import Segment
from collapse_ray.ledger.tables import latest, names_in, range_ids, rows_of_kind


@dataclass(slots=True)
class _Node:
    totals: dict[str, tuple[float, Row]] = field(default_factory=dict)
    """By device, with the time when a ledger took it."""
    marks: tuple[float, Sequence[Row]] = (0.0, ())
    newest_unix_s: float = 0.0

    def learn(self, taken_unix_s: float, totals: Iterable[Row], marks: Sequence[Row] | None) -> None:
        """Takes what is not older than what is known."""
        self.newest_unix_s = max(self.newest_unix_s, taken_unix_s)
        for total in totals:
            if total[0] not in self.totals or taken_unix_s >= self.totals[total[0]][0]:
                self.totals[total[0]] = (taken_unix_s, total)
        if marks is not None and taken_unix_s >= self.marks[0]:
            self.marks = (taken_unix_s, marks)


class Nodes:
    """The newest of all meters of each node."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def resume(self, node: str) -> Resume:
        """What is known of a node."""
        found = self._node(node)
        return Resume(totals_of(total for _, total in found.totals.values()), marks_of(found.marks[1]))

    def time_of_next(self, node: str, now_unix_s: float) -> float:
        """The time of what comes now: not before what is known, also where the ledger before had a faster clock."""
        return max(now_unix_s, self._node(node).newest_unix_s)

    def learn(self, node: str, taken_unix_s: float, totals: Iterable[Row], marks: Sequence[Row]) -> None:
        """What a batch says."""
        self._node(node).learn(taken_unix_s, totals, marks)

    def learn_pending(self, pending: Iterable[Pending]) -> None:
        """What batches say that are in no segment yet."""
        for one in sorted(pending, key=lambda one: one.taken_unix_s):
            self.learn(one.node, one.taken_unix_s, one.totals.values(), one.marks)

    def learn_segments(self, segments: Sequence[Segment]) -> None:
        """What is in segments, of which all rows count."""
        totals = latest(rows_of_kind("total", segments), ["node", "device"], "taken_unix_s")
        for row in totals.to_pylist():
            self._node(row["node"]).learn(row["taken_unix_s"], [tuple(row[name] for name in TOTAL)], None)
        ranges = rows_of_kind("range", segments).filter(pc.field("last") >= pc.field("first"))
        newest = latest(ranges, ["node"], "taken_unix_s")
        marks = _marks(rows_of_kind("mark", segments), newest)
        for row in newest.to_pylist():
            self._node(row["node"]).learn(row["taken_unix_s"], (), marks.get(row["meter"], []))

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())


def _marks(marks: pa.Table, ranges: pa.Table) -> dict[str, list[Row]]:
    """The marks of some ranges, by meter."""
    meters = names_in(ranges["meter"])
    found = dict[str, list[Row]]()
    for row in marks.filter(pa.array(np.isin(range_ids(marks, meters), range_ids(ranges, meters)))).to_pylist():
        mark = (tuple(row[name] for name in ACCOUNT), *(row[name] for name in MARK[len(ACCOUNT) :]))
        found.setdefault(row["meter"], []).append(mark)
    return found
