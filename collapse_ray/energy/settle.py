"""Attribution while series and marks still grow: what is certain is told once and for good, then forgotten.

Each device has a point up to which its energy is told. A call moves on to the last point that is certain:

- old enough that no mark is still on its way (`grace_s`);
- not beyond the boundary of a mark that waits for its reads. A boundary with a point at its very time (`Sampler.mark`
  asks for one) is certain when that is there; any other one after `SETTLE_S`, with reads on both sides.

Deltas between which nothing changes hands are booked as they are; those that cross a boundary without a point of its
own are left to `attribute`, which learns powers and ticks from the last `HISTORY_S`.

Law: the increments of a device sum to the energy between the first and the last point that were told, to the
microjoule, whatever the calls, marks and gaps; a mark that comes too late finds its time told, and changes nothing.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

from collapse_ray.energy.device_settler import HISTORY_S, DeviceSettler, Increment, OpenGap
from collapse_ray.energy.marks import Mark, Usage
from collapse_ray.energy.series import Device, Series

GRACE_S = 0.25
"""Marks that take longer than this from their worker to the meter may find their time told."""
UNSEEN_S = 10.0
"""A device that cannot be read for longer than this is told as unmeasured; before, its counter may still return."""


class Settler:
    """Settles the devices of one node; not for use by several threads at once.

    Args:
        node: Name of the node.
        grace_s: How long marks may take to come here.
    """

    def __init__(self, node: str, grace_s: float = GRACE_S) -> None:
        self._node = node
        self._grace_s = grace_s
        self._devices: dict[str, DeviceSettler] = {}
        self._open: dict[Hashable, list[Mark]] = {}

    @property
    def open_marks(self) -> Mapping[Hashable, Sequence[Mark]]:
        """Work that goes on, by token."""
        return self._open

    def begin(self, token: Hashable, marks: Iterable[Mark]) -> None:
        """Takes the marks of one piece of work, of one device each; `end` ends them all. Open tokens are ignored."""
        if token in self._open:
            return
        self._open[token] = list(marks)
        for mark in self._open[token]:
            self._device(mark.key.device).begin(token, mark)

    def end(self, token: Hashable, time_s: float) -> bool:
        """Ends the marks of a piece of work; false where the token is not open."""
        marks = self._open.pop(token, None)
        for mark in marks or ():
            self._device(mark.key.device).end(token, time_s)
        return marks is not None

    @property
    def shared(self) -> set[str]:
        """UUIDs of devices that several workers have open marks on."""
        workers: dict[str, set[str | None]] = {}
        for marks in self._open.values() if len(self._open) > 1 else ():
            for mark in marks:
                workers.setdefault(mark.key.device, set()).add(mark.worker)
        return {uuid for uuid, names in workers.items() if len(names) > 1}

    def settle(
        self,
        now_s: float,
        series: Mapping[str, Series],
        open_gaps: Mapping[str, OpenGap] | None = None,
        usage: Mapping[str, Sequence[Usage]] | None = None,
        final: bool = False,
    ) -> list[Increment]:
        """What became certain since the last call.

        Args:
            now_s: Monotonic time in seconds.
            series: Of each device that can or could be read, by UUID; they may be cut at `needed_from_s`.
            open_gaps: Of each device that cannot be read now.
            usage: SM time by worker and of `FOREIGN`, of devices where it tells something.
            final: No read and no mark will come any more: tells all that is left.
        """
        told = []
        horizon_s = now_s if final else now_s - self._grace_s
        patience_s = 0.0 if final else UNSEEN_S
        for uuid in [*series, *(uuid for uuid in self._devices if uuid not in series)]:
            device, one = self._device(uuid), series.get(uuid)
            gap = open_gaps.get(uuid) if open_gaps else None
            if one is not None:
                device.device = one.device
                until_s = math.inf if final else min(horizon_s, device.unsure_from_s(one, now_s))
                told.append(device.settle(one, until_s, gap, usage.get(uuid, ()) if usage else ()))
            told.append(device.tell_unmeasured(one, horizon_s, gap, patience_s))
        return [increment for increment in told if increment is not None]

    def needed_from_s(self) -> dict[str, float]:
        """By UUID, the time before which points and gaps are not needed any more."""
        points = {uuid: device.point for uuid, device in self._devices.items()}
        return {uuid: point.time_s - HISTORY_S for uuid, point in points.items() if point is not None}

    def _device(self, uuid: str) -> DeviceSettler:
        """Devices that only marks name are taken for GPUs: a worker names no other."""
        if uuid not in self._devices:
            self._devices[uuid] = DeviceSettler(Device(uuid, "a GPU that this node cannot read", "gpu", self._node))
        return self._devices[uuid]
