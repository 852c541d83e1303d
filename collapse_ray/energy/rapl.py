"""CPU packages and memory through RAPL, as the kernel's powercap files show it (Intel, and AMD since Zen).

Only domains that do not overlap are read: a package holds its cores and its graphics, the platform domain (psys) holds
the packages, and the MMIO interface repeats what the MSR interface tells. Memory is a domain of its own. Some AMD
processors show one counter under several names; such mirrors are read once.

The files are readable by root alone since Linux 5.10 (CVE-2020-8694): a domain without permission is unmeasured.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from collapse_ray.energy.series import Device, DeviceKind, Quality
from collapse_ray.energy.source import Reading

POWERCAP = Path("/sys/class/powercap")
WRAP_S = 240.0
"""No counter wraps twice in this time, nor once under any load that is cooled (5 minutes at the least)."""
_SAME_COUNTER_PROBES = 3


@dataclass
class _Domain:
    """One counter; `total_uj` is its sum over all wraps, its own value at the first read."""

    device: Device
    energy: Path
    range_uj: int
    raw_uj: int | None = None
    total_uj: int = 0


class Rapl:
    """The RAPL domains of this node.

    Counters wrap after `max_energy_range_uj` (5 to 9 minutes under load): they must be read at least once a minute.

    Args:
        node: Name of this node, for the devices.
        root: Folder of the kernel's power capping zones.
        now: Monotonic time in seconds.
        read_text: Reads one of the files.
        known_uj: By UUID, the counters that another meter of this boot has shown less than a wrap ago, to go on from.
    """

    quality: Quality = "counter"
    ticks = False  # updated every millisecond

    def __init__(
        self,
        node: str,
        root: Path = POWERCAP,
        now: Callable[[], float] = time.monotonic,
        read_text: Callable[[Path], str] = Path.read_text,
        known_uj: Mapping[str, int] | None = None,
    ) -> None:
        self._known_uj = known_uj or {}
        self._now = now
        self._read_text = read_text
        self.absence: str | None = None
        self._domains = {domain.device.uuid: domain for domain in self._find(node, root)}
        if not self._domains:
            self.absence = f"no RAPL domain under {root}: not a CPU with RAPL, or a virtual machine or container"

    def _find(self, node: str, root: Path) -> list[_Domain]:
        zones: dict[str, Path] = {}
        # MSR zones first: their MMIO twins have the same name.
        for zone in sorted(root.glob("*rapl*:*"), key=lambda path: ("mmio" in path.name, path.name)):
            zones.setdefault(self._unique_name(zone), zone)
        packages = [name for name in zones if name.startswith("package") and "/" not in name]
        names = packages or [name for name in zones if name == "psys"]
        domains: list[_Domain] = []
        for name in [*names, *(name for name in zones if name.endswith("dram"))]:
            kind: DeviceKind = "dram" if name.endswith("dram") else "cpu"
            range_uj = int(self._read_text(zones[name] / "max_energy_range_uj"))
            device = Device(f"rapl-{node}-{name}", f"RAPL {name}", kind, node)
            domain = _Domain(device, zones[name] / "energy_uj", range_uj)
            if not any(self._mirrors(domain, other) for other in domains if other.device.kind == kind):
                domains.append(domain)
        return domains

    def _unique_name(self, zone: Path) -> str:
        """`package-0`, or `package-0/dram`: names of subzones repeat in every package."""
        name = self._read_text(zone / "name").strip()
        family, *indices = zone.name.split(":")
        if len(indices) < 2:
            return name
        parent = zone.parent / f"{family}:{indices[0]}"
        return f"{self._read_text(parent / 'name').strip()}/{name}"

    def _mirrors(self, domain: _Domain, other: _Domain) -> bool:
        """Two names of one counter: each time, a read of one lies between two reads of the other."""
        for _ in range(_SAME_COUNTER_PROBES):
            try:
                low, middle, high = (int(self._read_text(x.energy)) for x in (other, domain, other))
            except OSError:
                return False
            if not low <= middle <= high:
                return False
        return domain.range_uj == other.range_uj

    def devices(self) -> Sequence[Device]:
        return [domain.device for domain in self._domains.values()]

    def read(self, uuid: str) -> Reading:
        domain = self._domains[uuid]
        begin_s = self._now()
        try:
            raw_uj = int(self._read_text(domain.energy))
        except PermissionError:
            fault = f"no permission to read {domain.energy}; as root: chmod a+r {POWERCAP}/*/energy_uj"
            return Reading(self._now(), fault=fault)
        except OSError as error:
            return Reading(self._now(), fault=f"{domain.energy}: {error.strerror}")
        if domain.raw_uj is None:
            known_uj = self._known_uj.get(uuid, raw_uj)
            domain.total_uj = known_uj + (raw_uj - known_uj) % domain.range_uj
        else:
            step_uj = raw_uj - domain.raw_uj
            domain.total_uj += step_uj if step_uj >= 0 else step_uj + domain.range_uj
        domain.raw_uj = raw_uj
        return Reading((begin_s + self._now()) / 2, domain.total_uj)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        reading = self.read(uuid)
        return reading.time_s, reading.counter_uj

    def close(self) -> None:
        """Nothing is held open."""
