"""The meter of this node: finds its devices, reads them in a thread, and tells what windows of time used."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from collapse_ray.energy.accumulate import CrossCheck
from collapse_ray.energy.reading_thread import ReadingThread
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.series import Series
from collapse_ray.energy.source import Source
from collapse_ray.energy.sources import find_sources
from collapse_ray.energy.window import DeviceEnergy, device_energy, total_energy_j

SETTLE_S = 2.0
"""A window waits no longer than this for the reads that close it; without faults it is 0.2 s."""


@dataclass
class Window:
    """One window of a meter. Entering and leaving it never waits; its energy is there some 0.2 s after its end.

    Asking for energy earlier waits for it.
    """

    name: str
    begin_monotonic_s: float
    begin_unix_s: float
    end_monotonic_s: float | None = None
    end_unix_s: float | None = None
    _result: Callable[["Window"], list[DeviceEnergy]] = field(repr=False, default=lambda _: [])

    @property
    def duration_s(self) -> float | None:
        """None while the window is open."""
        return None if self.end_monotonic_s is None else self.end_monotonic_s - self.begin_monotonic_s

    @property
    def devices(self) -> list[DeviceEnergy]:
        """Every device of the node, the unmeasured ones included; of an open window, up to now."""
        return self._result(self)

    @property
    def total_energy_j(self) -> float | None:
        """Sum over the measured devices; None when nothing was measured or estimated."""
        return total_energy_j(self.devices)

    def as_json(self) -> dict[str, Any]:
        devices = self.devices
        return {
            "devices": [device.as_json() for device in devices],
            "total_energy_j": total_energy_j(devices),
            "duration_s": self.duration_s,
            "begin_monotonic_s": self.begin_monotonic_s,
            "end_monotonic_s": self.end_monotonic_s,
            "begin_unix_s": self.begin_unix_s,
            "end_unix_s": self.end_unix_s,
        }


class Meter:
    """Meters every device of this node; use one per node.

    ```
    with Meter() as meter:
        with meter.window("train") as window:
            ...
    print(window.total_energy_j)
    ```

    Devices are found when the meter is entered, and later ones within half a minute: GPUs through NVML and AMD SMI,
    CPUs and memory through RAPL. What a device does never raises here: it shows as a gap with its reason.

    Args:
        interval_s: Time between reads; windows are read at their ends as well, to better than the sensor's tick.
        estimate: Where no CPU sensor can be read, estimate CPUs from their utilisation.
        tdp_w: Thermal design power of all CPUs for the estimate; default: 4 W per logical core.
        sources: Where devices come from, instead of finding them.
    """

    def __init__(
        self,
        *,
        interval_s: float = 1.0,
        estimate: bool = False,
        tdp_w: float | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        self._interval_s = interval_s
        self._estimate = estimate
        self._tdp_w = tdp_w
        self._given = sources
        self._sources: list[Source] = []
        self._thread = ReadingThread(Sampler([]))

    def __enter__(self) -> Self:
        node = socket.gethostname()
        found = find_sources(node, estimate=self._estimate, tdp_w=self._tdp_w) if self._given is None else self._given
        self._sources = list(found)
        sampler = Sampler(self._sources, self._interval_s)
        sampler.step()  # counters are known before the first window opens
        sampler.mark()  # and soon the length of their ticks
        self._thread = ReadingThread(sampler, longest_s=self._interval_s)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.settle(self._thread.mark(), SETTLE_S)
        self._thread.stop(SETTLE_S)
        for source in self._sources:
            source.close()

    @property
    def absences(self) -> list[str]:
        """Why devices are missing, one sentence per source."""
        return [source.absence for source in self._sources if source.absence is not None]

    def series(self) -> dict[str, Series]:
        """Copies of the series so far, by UUID."""
        with self._thread.lock:
            return {
                uuid: replace(series, points=list(series.points), gaps=list(series.gaps))
                for uuid, series in self._thread.sampler.series().items()
            }

    def cross_checks(self) -> dict[str, CrossCheck]:
        """Counter against integrated power of each device that has both."""
        with self._thread.lock:
            return self._thread.sampler.cross_checks()

    @contextmanager
    def window(self, name: str) -> Iterator[Window]:
        """What the devices of the node use while the block runs."""
        window = Window(name, self._thread.mark(), time.time(), _result=self._energies)
        try:
            yield window
        finally:
            window.end_monotonic_s, window.end_unix_s = self._thread.mark(), time.time()

    def _energies(self, window: Window) -> list[DeviceEnergy]:
        end_s = window.end_monotonic_s
        if end_s is None:
            end_s = self._thread.mark()
        self._thread.settle(end_s, SETTLE_S)
        with self._thread.lock:
            gaps = self._thread.sampler.open_gaps()
            series = self._thread.sampler.series()
            return [
                device_energy(series[uuid], window.begin_monotonic_s, end_s, gaps.get(uuid)) for uuid in sorted(series)
            ]
