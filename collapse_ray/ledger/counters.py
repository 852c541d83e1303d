"""The ledger for Prometheus, through Ray's metrics: joules, watts, unmeasured devices, and how far it is behind.

A restarted ledger counts from the totals of its journal, and Ray goes on showing the series of a process that is gone:
the newest series is the largest. Query `max by (...)` for totals, never `sum`. A Ray seam.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from ray.util.metrics import Counter

from collapse_ray.energy.accumulate import UJ_PER_J
from collapse_ray.ledger.pending import Pending
from collapse_ray.ledger.query import Ledger
from collapse_ray.ledger.rows import ACCOUNT, TOTAL, Row
from collapse_ray.lineage.kept_gauge import KeptGauge
from collapse_ray.monitoring import metrics


class Labels(NamedTuple):
    """Of the joules; empty where an account has none (`idle` and `foreign` have no lineage)."""

    kind: str
    sweep: str
    lineage: str
    stage: str
    node: str
    device_kind: str
    quality: str


def journal_totals(ledger: Ledger) -> dict[Labels, int]:
    """Microjoules of a journal by labels."""
    sums = ledger.sums(Labels._fields[:-1])
    return {
        Labels(*(str(value or "") for value in (*group, quality))): energy_uj
        for group, of_group in sums.items()
        for quality, (energy_uj, _) in of_group.items()
        if energy_uj
    }


def journal_kinds(ledger: Ledger) -> dict[str, str]:
    """The kind of each device that a journal knows, by UUID."""
    return dict(zip(*(ledger.totals[name].to_pylist() for name in ("device", "device_kind")), strict=True))


class Counters:
    """What the ledger has made durable, for Prometheus; made by the ledger actor when it starts, once in its life.

    A counter of a new process is at zero, so it is first raised by what the journal holds. A batch is either in the
    journal that these totals were read from, or counted by `count` after.

    Args:
        ledger: tells the ledger of one store from those of others on a cluster, which meter the same nodes.
        totals_uj: what the journal holds.
        kinds: of every device that the journal knows, by UUID.
    """

    def __init__(self, ledger: str, totals_uj: Mapping[Labels, int], kinds: Mapping[str, str]) -> None:
        self._ledger = {"ledger": ledger}
        self._joules = Counter(metrics.JOULES.name, metrics.JOULES.help, metrics.JOULES.labels)
        self._watts, self._unmeasured, self._lag = (
            KeptGauge(metric) for metric in (metrics.WATTS, metrics.UNMEASURED, metrics.LAG)
        )
        self._kinds = dict(kinds)
        self._nodes: dict[str, _Node] = defaultdict(_Node)
        self.add(totals_uj)

    @property
    def nodes(self) -> list[str]:
        """Those that told something and were not forgotten."""
        return list(self._nodes)

    def count(self, durable: Pending) -> None:
        """Counts what has become durable of one meter: each batch once, those of a meter in their order."""
        node = self._nodes[durable.node]
        totals = [dict(zip(TOTAL, total, strict=True)) for total in durable.totals.values()]
        self._kinds |= {total["device"]: total["device_kind"] for total in totals}
        totals_uj: dict[Labels, int] = defaultdict(int)
        for (account, quality, _, _), (energy_uj, *_) in durable.entries.items():
            totals_uj[self._labels(account, quality)] += energy_uj or 0
        self.add(totals_uj)
        node.unread |= _unread(durable.entries)
        self._show_unmeasured(durable.node, node)
        if totals:
            settled_s: float = min(total["settled_unix_s"] for total in totals)
            if node.settled_unix_s is not None and settled_s > node.settled_unix_s:
                self._show_power(durable.node, node, totals_uj, settled_s - node.settled_unix_s)
            node.settled_unix_s = settled_s

    def show_lag(self, ledger_unix_s: float) -> None:
        """Tells how long ago the joules of each node were settled; call it every few seconds, batches or not."""
        for name, node in list(self._nodes.items()):  # others may count meanwhile
            if node.settled_unix_s is not None:
                lag_s = max(0.0, ledger_unix_s - node.settled_unix_s)
                self._lag.set(lag_s, tags={**self._ledger, "node": name})

    def forget(self, name: str) -> None:
        """For a node that has left: it lags no more, uses nothing and misses no device; its joules stay."""
        node = self._nodes.pop(name)
        for device_kind in {self._kinds.get(uuid, "") for uuid in node.unread}:
            self._unmeasured.set(0, tags={**self._ledger, "node": name, "device_kind": device_kind})
        for power in node.powers:
            self._watts.set(0.0, tags={**self._ledger, **power._asdict()})
        if node.settled_unix_s is not None:
            self._lag.set(0.0, tags={**self._ledger, "node": name})

    def add(self, totals_uj: Mapping[Labels, int]) -> None:
        """Counts microjoules that have become durable."""
        for labels, energy_uj in totals_uj.items():
            if energy_uj:  # Ray refuses to raise a counter by 0
                self._joules.inc(energy_uj / UJ_PER_J, tags={**self._ledger, **labels._asdict()})

    def _labels(self, account: Row, quality: str) -> Labels:
        key = dict(zip(ACCOUNT, account, strict=True))
        device_kind = self._kinds.get(key["device"], "")
        return Labels(
            key["kind"],
            key["sweep"] or "",
            key["lineage"] or "",
            key["stage"] or "",
            key["node"],
            device_kind,
            quality,
        )

    def _show_unmeasured(self, name: str, node: "_Node") -> None:
        numbers: dict[str, int] = defaultdict(int)
        for uuid, unread in node.unread.items():
            numbers[self._kinds.get(uuid, "")] += unread
        for device_kind, number in numbers.items():
            self._unmeasured.set(number, tags={**self._ledger, "node": name, "device_kind": device_kind})

    def _show_power(self, name: str, node: "_Node", totals_uj: Mapping[Labels, int], duration_s: float) -> None:
        """What was used since the node's joules were settled before; what used none is at 0 W."""
        sums_uj = dict.fromkeys(node.powers, 0)
        for labels, energy_uj in totals_uj.items():
            if labels.quality != "unmeasured":
                power = _Power(labels.kind, labels.stage, name, labels.quality)
                sums_uj[power] = sums_uj.get(power, 0) + energy_uj
        for power, energy_uj in sums_uj.items():
            self._watts.set(energy_uj / UJ_PER_J / duration_s, tags={**self._ledger, **power._asdict()})
        node.powers = set(sums_uj)


class _Power(NamedTuple):
    """Labels of the watts but the ledger's."""

    kind: str
    stage: str
    node: str
    quality: str


class _Node:
    """What was last said of a node."""

    def __init__(self) -> None:
        self.unread: dict[str, bool] = {}
        """Of its devices: whether the last of what was said of them is that they could not be read."""
        self.settled_unix_s: float | None = None
        """Of the device that is farthest behind."""
        self.powers: set[_Power] = set()


def _unread(entries: Mapping[Row, list]) -> dict[str, bool]:
    """Whether each device could not be read at the end of its entries."""
    # An interval of which a part is unmeasured has an entry for each.
    by_end = sorted(
        (sums[3], quality == "unmeasured", account[ACCOUNT.index("device")])
        for (account, quality, _, _), sums in entries.items()
    )
    return {device: unmeasured for _, unmeasured, device in by_end}
