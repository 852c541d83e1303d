"""What came from one meter and is not in a segment yet, summed up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import pyarrow as pa

from collapse_ray.ledger.compact import HOUR_S
from collapse_ray.ledger.query import Group, Sums
from collapse_ray.ledger.rows import ACCOUNT, Row, Rows
from collapse_ray.ledger.segment import KINDS, RowKind, table_of


@dataclass
class Pending:
    """Batches `first` to `last` of a meter; none where `last` is `first - 1`."""

    meter: str
    node: str
    first: int
    last: int
    taken_unix_s: float
    closed: bool = False
    """Another meter took its node over: `last` is its last batch for good."""
    entries: dict[Row, list] = field(default_factory=dict)
    """(account, quality, rule, hour) -> [energy_uj, duration_s, begin_unix_s, end_unix_s]."""
    totals: dict[str, Row] = field(default_factory=dict)
    """The newest of each device."""
    marks: tuple[Row, ...] = ()
    gaps: list[Row] = field(default_factory=list)

    def add(self, rows: Rows, taken_unix_s: float) -> None:
        """Adds the next batch."""
        for account, quality, rule, *sums in rows.entries:
            self._sum((account, quality, rule, sums[2] // HOUR_S), sums)
        self.totals.update((total[0], total) for total in rows.totals)
        self.gaps += rows.gaps
        self.marks, self.last, self.taken_unix_s = rows.marks, rows.number, taken_unix_s

    def extend(self, later: "Pending") -> None:
        """Adds the batches that follow these."""
        for group, sums in later.entries.items():
            self._sum(group, sums)
        self.totals |= later.totals
        self.gaps += later.gaps
        self.closed |= later.closed
        self.taken_unix_s = later.taken_unix_s
        if later.last > self.last:
            self.marks, self.last = later.marks, later.last

    def _sum(self, group: Row, sums: list) -> None:
        known = self.entries.get(group)
        if known is None:
            self.entries[group] = sums
            return
        energy_uj, duration_s, begin_unix_s, end_unix_s = sums
        if energy_uj is not None:
            known[0] = energy_uj + (known[0] or 0)
        known[1] += duration_s
        known[2] = min(known[2], begin_unix_s)
        known[3] = max(known[3], end_unix_s)


def tables_of(pending: Iterable[Pending]) -> dict[RowKind, pa.Table]:
    """The rows of a segment."""
    rows: dict[RowKind, list[Row]] = {kind: [] for kind in KINDS}
    for one in pending:
        origin = (one.meter, one.last)
        rows["range"].append((*origin, one.first, one.node, one.taken_unix_s, one.closed))
        rows["total"] += [(*origin, one.taken_unix_s, *total) for total in one.totals.values()]
        rows["mark"] += [(*origin, *account, *rest) for account, *rest in one.marks]
        rows["gap"] += [(*origin, one.node, *gap) for gap in one.gaps]
        rows["entry"] += [
            (*origin, *account, quality, rule, *sums) for (account, quality, rule, _), sums in one.entries.items()
        ]
    return {kind: table_of(kind, of_kind) for kind, of_kind in rows.items()}


def summed_by(columns: Sequence[str], sums: Mapping[Group, Sums], pending: Iterable[Pending]) -> dict[Group, Sums]:
    """Sums as of `Ledger.sums`, and what is pending on top of them."""
    pick = itemgetter(*(ACCOUNT.index(column) for column in columns))
    result = {group: dict(of_group) for group, of_group in sums.items()}
    for one in pending:
        for (account, quality, _, _), (energy_uj, duration_s, *_) in one.entries.items():
            of_group = result.setdefault(pick(account), {})
            before_uj, before_s = of_group.get(quality, (None, 0.0))
            both_uj = before_uj if energy_uj is None else energy_uj + (before_uj or 0)
            of_group[quality] = (both_uj, before_s + duration_s)
    return result
