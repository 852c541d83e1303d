"""What each device used between two moments, read from its series."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from collapse_ray.energy.accumulate import UJ_PER_J
from collapse_ray.energy.series import DeviceKind, Gap, Point, Quality, Series

MEASURED: tuple[Quality, ...] = ("counter", "integrated")
_WORST_FIRST: tuple[Quality, ...] = ("estimated", "integrated", "counter")


@dataclass(frozen=True)
class DeviceEnergy:
    """Energy of one device in a window; None with quality `unmeasured` where nothing was read.

    `quality` is the worst among the joules of the window. What was used in gaps that are not bridged is missing.
    """

    uuid: str
    name: str
    kind: DeviceKind
    energy_j: float | None
    quality: Quality
    gaps: tuple[Gap, ...] = ()

    def as_json(self) -> dict[str, Any]:
        gaps = [
            {
                "reason": gap.reason,
                "begin_s": gap.begin_s,
                "end_s": gap.end_s,
                "duration_s": gap.end_s - gap.begin_s,
                "bridged": gap.bridged,
            }
            for gap in self.gaps
        ]
        return {
            "uuid": self.uuid,
            "name": self.name,
            "kind": self.kind,
            "energy_j": self.energy_j,
            "quality": self.quality,
            "gaps": gaps,
        }


def device_energy(
    series: Series, begin_s: float, end_s: float, open_gap: tuple[float, str] | None = None
) -> DeviceEnergy:
    """Energy of one device from `begin_s` to `end_s` (monotonic); `open_gap` says since when and why it is lost now."""
    device = series.device
    gaps = [*series.gaps, *([Gap(open_gap[0], end_s, open_gap[1], bridged=False)] if open_gap else [])]
    clipped = tuple(
        Gap(max(gap.begin_s, begin_s), min(gap.end_s, end_s), gap.reason, gap.bridged)
        for gap in gaps
        if gap.begin_s < end_s and gap.end_s > begin_s
    )
    points = series.points
    first = next((i for i, point in enumerate(points) if point.time_s > begin_s), len(points))
    inside = points[max(first, 1) : bisect_left(points, end_s, key=lambda point: point.time_s) + 1]
    if not inside:
        if not clipped:
            clipped = (Gap(begin_s, end_s, "not read in this window", bridged=False),)
        return DeviceEnergy(device.uuid, device.name, device.kind, None, "unmeasured", clipped)
    energy_j = (_energy_at(points, end_s) - _energy_at(points, begin_s)) / UJ_PER_J
    quality: Quality = next(quality for quality in _WORST_FIRST if any(point.quality == quality for point in inside))
    return DeviceEnergy(device.uuid, device.name, device.kind, energy_j, quality, clipped)


def _energy_at(points: Sequence[Point], time_s: float) -> float:
    """Microjoules at a time, linear between points and constant outside."""
    after = bisect_left(points, time_s, key=lambda point: point.time_s)
    if after == len(points):
        return points[-1].energy_uj
    if after == 0:
        return points[0].energy_uj
    low, high = points[after - 1], points[after]
    share = (time_s - low.time_s) / (high.time_s - low.time_s)
    return low.energy_uj + share * (high.energy_uj - low.energy_uj)


def total_energy_j(devices: Iterable[DeviceEnergy]) -> float | None:
    """Sum of the measured joules; of the estimated ones where none is measured; None where there are neither.

    Measured and estimated joules are never added up.
    """
    known = [device for device in devices if device.energy_j is not None]
    measured = [device for device in known if device.quality in MEASURED]
    return sum(device.energy_j or 0.0 for device in measured or known) if known else None
