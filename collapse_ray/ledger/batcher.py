"""From increments to entries: what a meter has to tell, summed by account until the next batch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from collapse_ray.energy.accounts import Account
from collapse_ray.energy.device_settler import Increment
from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Gap, Quality
from collapse_ray.ledger.batch import Batch, DeviceTotal, Entry

_NOTHING_S = 1e-6
"""Unmeasured time that is no more than the rounding of a float."""


@dataclass
class _Sum:
    """One account, over an interval of the node's monotonic clock."""

    begin_s: float
    end_s: float
    quality: Quality
    account: Account = field(default_factory=Account)

    def entries(self, key: AccountKey, offset_s: float) -> Iterator[Entry]:
        interval = (self.begin_s + offset_s, self.end_s + offset_s)
        duration_s = self.account.measured_s
        for (quality, rule), energy_uj in self.account.parts.items():
            if energy_uj or duration_s:
                yield Entry(key, quality, rule, energy_uj, duration_s, *interval)
                duration_s = 0.0
        if duration_s:  # its energy is in a later point
            yield Entry(key, self.quality, "exclusive", 0, duration_s, *interval)
        if self.account.unmeasured_s > _NOTHING_S:
            yield Entry(key, "unmeasured", None, None, self.account.unmeasured_s, *interval)


@dataclass
class _Progress:
    """How far a device is told; sums of this meter."""

    device: Device
    settled_uj: int = 0
    counter_uj: int | None = None
    settled_s: float = 0.0
    changed: bool = True


class Batcher:
    """Sums increments and makes the numbered batches of one meter.

    Args:
        meter: Name of this life of this meter.
        node: Its node.
        boot_id: Of the node.
    """

    def __init__(self, meter: str, node: str, boot_id: str) -> None:
        self._meter = meter
        self._node = node
        self._boot_id = boot_id
        self._number = 0
        self._sums: dict[AccountKey, _Sum] = {}
        self._devices: dict[str, _Progress] = {}
        self._gaps: list[tuple[str, Gap]] = []
        self._marks: tuple[Mark, ...] = ()

    def add(self, increments: Iterable[Increment]) -> None:
        """Takes what became final."""
        for one in increments:
            uuid, point = one.device.uuid, one.point
            progress = self._devices.setdefault(uuid, _Progress(one.device))
            progress.device, progress.settled_s, progress.changed = one.device, one.end_s, True
            quality: Quality = "unmeasured"
            if point is not None:
                progress.counter_uj, progress.settled_s, quality = point.counter_uj, point.time_s, point.quality
            for key, account in one.accounts:
                known = self._sums.setdefault(key, _Sum(one.begin_s, one.end_s, quality))
                known.end_s = one.end_s
                known.account.add(account)
                progress.settled_uj += sum(account.parts.values())
            self._gaps += [(uuid, gap) for gap in one.accounts.gaps.get(uuid, ())]

    def make(self, marks: tuple[Mark, ...], offset_s: float) -> Batch | None:
        """The next batch with all that was added; None where there is nothing to tell.

        Args:
            marks: Of work that goes on.
            offset_s: What the ledger's clock shows more than this node's monotonic one.
        """
        if not self._sums and not self._gaps and marks == self._marks:
            return None
        self._number += 1
        batch = Batch(
            self._meter,
            self._node,
            self._number,
            tuple(entry for key, one in self._sums.items() for entry in one.entries(key, offset_s)),
            tuple(self._total(one, offset_s) for one in self._devices.values() if one.changed),
            marks,
            tuple((uuid, _shifted(gap, offset_s)) for uuid, gap in self._gaps),
        )
        for one in self._devices.values():
            one.changed = False
        self._sums, self._gaps, self._marks = {}, [], marks
        return batch

    def _total(self, one: _Progress, offset_s: float) -> DeviceTotal:
        return DeviceTotal(one.device, one.settled_uj, one.counter_uj, self._boot_id, one.settled_s + offset_s)


def _shifted(gap: Gap, offset_s: float) -> Gap:
    return replace(gap, begin_s=gap.begin_s + offset_s, end_s=gap.end_s + offset_s)
