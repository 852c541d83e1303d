"""What a CPU without sensors uses, estimated: utilisation times thermal design power. Never a measurement.

The power of a CPU is neither proportional to its utilisation nor bounded by its TDP, and idle power is missed: expect
errors of tens of percent. Joules from here have the quality `estimated` and are not added to measured ones.
"""

import os
import time
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path

from collapse_ray.energy.series import Device, Quality
from collapse_ray.energy.source import Reading

DEFAULT_W_PER_CORE = 4.0
"""TDP per logical core where the user gives none: CodeCarbon's default for unknown CPUs (`DEFAULT_POWER_PER_CORE`)."""

STAT = Path("/proc/stat")
_LINE = 512


class CpuEstimate:
    """All CPUs of this node as one estimated device.

    Args:
        node: Name of this node, for the device.
        tdp_w: Thermal design power of all CPUs of the node together; default: 4 W per logical core.
        stat: The kernel's table of CPU times (Linux).
        now: Monotonic time in seconds.
    """

    quality: Quality = "estimated"
    ticks = False

    def __init__(
        self,
        node: str,
        tdp_w: float | None = None,
        stat: Path = STAT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        num_cores = os.cpu_count() or 1
        self._tdp_w = DEFAULT_W_PER_CORE * num_cores if tdp_w is None else tdp_w
        source = f"{DEFAULT_W_PER_CORE:g} W per core assumed" if tdp_w is None else "as given"
        name = f"CPU estimate: utilisation x {self._tdp_w:g} W TDP ({source})"
        self._device = Device(f"estimate-{node}-cpu", name, "cpu", node)
        self._stat = stat
        self._now = now
        self._shown_uj = 0
        self._num_cpus = 0
        self._file: FileIO | None = None
        self.absence = None if stat.exists() else f"CPU use cannot be estimated: there is no {stat}"

    def devices(self) -> Sequence[Device]:
        return [] if self.absence else [self._device]

    def read(self, uuid: str) -> Reading:
        """The joules estimated since boot, as a counter: the same for every meter of this boot."""
        if not self._num_cpus:
            self._num_cpus = self._stat.read_text().count("\ncpu")
        if self._file is None:  # opening it takes longer than reading it
            self._file = self._stat.open("rb", buffering=0)
        line = os.pread(self._file.fileno(), _LINE, 0)  # the rest is long, and nothing to do with CPUs
        busy_uj = round(_busy_s(line) / self._num_cpus * self._tdp_w * 1e6)
        self._shown_uj = max(self._shown_uj, busy_uj)  # the kernel's times may step back by a tick
        return Reading(self._now(), self._shown_uj)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        reading = self.read(uuid)
        return reading.time_s, reading.counter_uj

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _busy_s(stat: bytes) -> float:
    """Seconds since boot that CPUs were busy, summed over all, from the first line of /proc/stat (man 5 proc_stat)."""
    # user nice system idle iowait irq softirq; guest times are part of user and nice, and stolen time was not used.
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.split(b"\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
