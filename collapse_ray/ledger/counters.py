"""The ledger for Prometheus, through Ray's metrics: joules as counters, unmeasured devices, and how far it is behind.

Ray puts `ray_` before every name and `_total` behind that of a counter. Its label `WorkerId` changes when the ledger is
restarted, and Ray goes on showing the series of the worker that is gone. A restarted ledger counts from the totals of
its journal, so the newest series is the largest: query `max by (...)` for totals, never `sum`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd
from ray.util.metrics import Counter, Gauge

from collapse_ray.energy.series import Device
from collapse_ray.ledger.batch import Batch, Entry
from collapse_ray.ledger.exported import UJ_PER_J

JOULES = "collapse_energy_joules"
UNMEASURED = "collapse_unmeasured_devices"
LAG = "collapse_ledger_lag_seconds"


class Labels(NamedTuple):
    """Of the joules; empty where an account has none (`idle` and `foreign` have no lineage)."""

    kind: str
    lineage: str
    stage: str
    node: str
    device_kind: str
    quality: str


def journal_totals(table: pd.DataFrame) -> dict[Labels, int]:
    """Microjoules by labels, from a table of accounts with the fields of `Labels` and `energy_uj` as columns."""
    groups: Any = table.groupby([*Labels._fields], dropna=False)
    return {
        Labels(*("" if pd.isna(value) else str(value) for value in values)): int(energy_uj)
        for values, energy_uj in groups["energy_uj"].sum().items()
        if energy_uj
    }


class Counters:
    """What the ledger has made durable, for Prometheus; made by the ledger actor when it starts, once in its life.

    A counter of a new process is at zero, so it is first raised by what the journal holds. A batch is either in the
    journal that these totals were read from, or counted by `count` after.

    Args:
        totals_uj: what the journal holds.
        devices: every device that the journal knows.
    """

    def __init__(self, totals_uj: Mapping[Labels, int], devices: Iterable[Device] = ()) -> None:
        self._joules = Counter(JOULES, "Energy by what it was used for and how it was measured, in J", Labels._fields)
        self._unmeasured = Gauge(
            UNMEASURED, "Devices that could not be read when their node last reported", ("node", "device_kind")
        )
        self._lag = Gauge(LAG, "How far the journal is behind the clock, by node, in s", ("node",))
        self._devices = {device.uuid: device for device in devices}
        self._unread: dict[str, dict[str, bool]] = defaultdict(dict)
        """Of the devices of each node: whether the last of what was said of them is that they could not be read."""
        self._settled_unix_s: dict[str, float] = {}
        self.add(totals_uj)

    def add(self, totals_uj: Mapping[Labels, int]) -> None:
        """Counts microjoules that have become durable."""
        for labels, energy_uj in totals_uj.items():
            if energy_uj:  # Ray refuses to raise a counter by 0
                self._joules.inc(energy_uj / UJ_PER_J, tags=labels._asdict())

    def count(self, batch: Batch) -> None:
        """Counts a batch that has become durable: each once, those of a meter in the order of their numbers."""
        self._devices |= {total.device.uuid: total.device for total in batch.totals}
        totals_uj: dict[Labels, int] = defaultdict(int)
        for entry in batch.entries:
            totals_uj[self._labels(entry)] += entry.energy_uj or 0
        self.add(totals_uj)
        self._unread[batch.node] |= _unread(batch.entries)
        self._show_unmeasured(batch.node)
        if batch.totals:
            self._settled_unix_s[batch.node] = min(total.settled_unix_s for total in batch.totals)

    def show_lag(self, ledger_unix_s: float) -> None:
        """Tells how long ago the joules of each node were settled; call it every few seconds, batches or not."""
        for node, settled_unix_s in self._settled_unix_s.items():
            self._lag.set(max(0.0, ledger_unix_s - settled_unix_s), tags={"node": node})

    def forget(self, node: str) -> None:
        """For a node that has left: it lags no more and misses no device; its joules stay."""
        for device_kind in {self._kind(uuid) for uuid in self._unread.pop(node, {})}:
            self._unmeasured.set(0, tags={"node": node, "device_kind": device_kind})
        if self._settled_unix_s.pop(node, None) is not None:
            self._lag.set(0.0, tags={"node": node})

    def _labels(self, entry: Entry) -> Labels:
        key = entry.key
        return Labels(key.kind, key.lineage or "", key.stage or "", key.node, self._kind(key.device), entry.quality)

    def _kind(self, uuid: str) -> str:
        """Empty for a device that no meter has settled anything of."""
        return self._devices[uuid].kind if uuid in self._devices else ""

    def _show_unmeasured(self, node: str) -> None:
        numbers: dict[str, int] = defaultdict(int)
        for uuid, unread in self._unread[node].items():
            numbers[self._kind(uuid)] += unread
        for device_kind, number in numbers.items():
            self._unmeasured.set(number, tags={"node": node, "device_kind": device_kind})


def _unread(entries: Iterable[Entry]) -> dict[str, bool]:
    """Whether each device could not be read at the end of its entries."""
    # An interval of which a part is unmeasured has an entry for each.
    by_end = sorted(entries, key=lambda entry: (entry.end_unix_s, entry.quality == "unmeasured"))
    return {entry.key.device: entry.quality == "unmeasured" for entry in by_end}
