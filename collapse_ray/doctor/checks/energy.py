"""Energy: what quality the joules of each device would have."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site
from collapse_ray.energy.sources import find_sources


@dataclass(frozen=True)
class Sensor:
    """One device, read once."""

    name: str
    kind: str
    """gpu, cpu or dram."""
    quality: str
    """`counter`, `integrated` (its power over time), `estimated`, or `unmeasured`."""
    fault: str | None = None


@dataclass(frozen=True)
class Sensors:
    """All of one node."""

    num_gpus: float
    """That Ray gives to workers."""
    devices: tuple[Sensor, ...]
    absences: tuple[str, ...]
    """Why devices are missing."""


class Examination(Check[dict[str, Sensors]]):
    """Reads each device once."""

    def examine(self, site: Site) -> dict[str, Sensors]:
        return site.each(probe)

    def judge(self, facts: dict[str, Sensors]) -> Iterator[Finding]:
        for node, sensors in facts.items():
            problems = [*_gpus(node, sensors), *_cpus(node, sensors)]
            yield from problems or [Finding(node, Status.ok, _summary(sensors))]


def _gpus(node: str, sensors: Sensors) -> Iterator[Finding]:
    gpus = [device for device in sensors.devices if device.kind == "gpu"]
    if sensors.num_gpus and not gpus:
        yield Finding(
            node,
            Status.fault,
            f"Ray has GPUs here ({sensors.num_gpus:g}) and no meter can read one: {'; '.join(sensors.absences)}",
            "make NVML (libnvidia-ml.so.1 of the driver) visible to Ray's processes, or start Ray without --num-gpus",
        )
    for gpu in gpus:
        if gpu.quality == "unmeasured":
            fix = "update the driver; on a virtual GPU ask the provider; until then its joules stay `unmeasured`"
            yield Finding(node, Status.fault, f"{gpu.name} cannot be read: {gpu.fault}", fix)


def _cpus(node: str, sensors: Sensors) -> Iterator[Finding]:
    unreadable = [device for device in sensors.devices if device.kind != "gpu" and device.quality == "unmeasured"]
    if unreadable:
        fix = "as root on the node: chmod o+r /sys/class/powercap/*/energy_uj"
        yield Finding(node, Status.warning, f"{_summary(sensors)}; {unreadable[0].fault}", fix)
    elif not any(device.kind == "cpu" and device.quality == "counter" for device in sensors.devices):
        fix = "give run.meter.tdp_w; a counter (RAPL) has the bare machine alone, no virtual one"
        yield Finding(node, Status.warning, f"{_summary(sensors)}; the CPUs have no sensor", fix)


def _summary(sensors: Sensors) -> str:
    """`gpu: 2 x counter; cpu: estimated`."""
    counts = Counter((device.kind, device.quality) for device in sensors.devices)
    return "; ".join(f"{kind}: {f'{num} x ' if num > 1 else ''}{quality}" for (kind, quality), num in counts.items())


def probe(node: Node) -> Sensors:
    """Reads every device of this node once."""
    sources = find_sources(node.name, estimate=True)
    devices = []
    for source in sources:
        for device in source.devices():
            reading = source.read(device.uuid)
            quality = source.quality if reading.counter_uj is not None else "integrated"
            unread = reading.counter_uj is None and reading.power_w is None
            devices.append(Sensor(device.name, device.kind, "unmeasured" if unread else quality, reading.fault))
    absences = tuple(source.absence for source in sources if source.absence is not None)
    for source in sources:
        source.close()
    return Sensors(node.num_gpus, tuple(devices), absences)
