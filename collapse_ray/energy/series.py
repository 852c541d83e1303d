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

    `bridged` is true when a counter read after the gap covers the energy used during it.
    """

    begin_s: float
    end_s: float
    reason: str
    bridged: bool


@dataclass(frozen=True)
class Point:
    """Cumulated energy of a device since its series began, in integer microjoules, at a monotonic time in seconds.

    `quality` says how the energy since the point before was obtained.
    """

    time_s: float
    energy_uj: int
    quality: Quality


@dataclass
class Series:
    """Points of one device in ascending time; `energy_uj` never decreases."""

    device: Device
    points: list[Point] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
