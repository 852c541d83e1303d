"""What the sampler asks of every way to read energy, and what a read gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from collapse_ray.energy.series import Device, Quality


@dataclass(frozen=True)
class Reading:
    """One read of one device; what could not be read is None, and `fault` says why when nothing could."""

    time_s: float
    """Monotonic time in the middle of the read."""
    counter_uj: int | None = None
    """The device's energy counter in microjoules; its origin is arbitrary."""
    power_w: float | None = None
    """Power, as instantaneous as the device can tell."""
    fault: str | None = None
    """Why neither counter nor power could be read."""
    restarted: bool = False
    """The driver was seen unloaded since the last counter read: the counter began anew at zero."""


class Source(Protocol):
    """A family of devices that are read in the same way. Reads never raise for what a device does."""

    quality: Quality
    """Quality of the joules that its counters give."""
    ticks: bool
    """Counters stand still between updates that are far enough apart to matter (100 ms on NVIDIA GPUs)."""
    absence: str | None
    """Why there are no devices, or why some are missing."""

    def devices(self) -> Sequence[Device]:
        """The devices known by now; asked again every half minute, and may have grown since."""
        ...

    def read(self, uuid: str) -> Reading: ...

    def counter(self, uuid: str) -> tuple[float, int | None]:
        """The counter alone, with the time of the read: cheap enough for a burst."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ProcessSource(Protocol):
    """A source that knows which processes use a GPU."""

    def sm_shares(self, uuid: str, last_s: float) -> Mapping[int, float] | None:
        """SM time in [0, 1] during the last seconds, by process identifier; None where it never tells."""
        ...
