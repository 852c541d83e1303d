"""What meters publish: a monotone energy series for each device, with the gaps that nobody saw."""

from dataclasses import dataclass, field
from typing import Literal

Quality = Literal["counter", "integrated", "estimated", "unmeasured"]
"""How joules were obtained: the device's counter, its power integrated over time, a model of it, not at all."""

DeviceKind = Literal["gpu", "cpu", "dram"]


@dataclass(frozen=True)
class Device:
    """One metered device; `uuid` identifies it across processes, index orders and reboots."""

    uuid: str
    name: str
    kind: DeviceKind
    node: str


@dataclass(frozen=True)
class Gap:
    """An interval in which a device could not be read; what it used meanwhile is in no point unless bridged.

    `bridged` is true when a counter read after the gap covers the energy used during it. A gap is appended when it
    ends; it may become bridged, or part of a longer one, until the counter has been read again.
    """

    begin_s: float
    end_s: float
    reason: str
    bridged: bool


@dataclass(frozen=True, slots=True)
class Point:
    """Cumulated energy of a device since its series began, in integer microjoules, at a monotonic time in seconds.

    Attributes:
        quality: How the energy since the point before was obtained.
        counter_uj: The device's own counter (arbitrary origin) at this energy; None where power was integrated since
            the counter was last read, so that the counter cannot be continued from here.
        exact: The energy was true at `time_s`. Any other point of a counter that ticks shows the energy of its last
            tick, up to `Series.tick_s` before.
    """

    time_s: float
    energy_uj: int
    quality: Quality
    counter_uj: int | None = None
    exact: bool = False


@dataclass
class Series:
    """Points of one device in ascending time; `energy_uj` never decreases.

    Both lists grow at their ends. Who keeps a series for long lets go of what is settled (`Sampler.forget`): the first
    point of a series is then not the first that there was.
    """

    device: Device
    points: list[Point] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    tick_s: float | None = None
    """Time between updates of the device's counter, as probed: 0 where every read is current, None while unknown."""
