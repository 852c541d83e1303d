"""The meter of this node: finds its devices, reads them in a thread, and tells what windows of time used."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from collapse_ray.energy.accumulate import CrossCheck
from collapse_ray.energy.estimate import CpuEstimate
from collapse_ray.energy.nvml import Nvml
from collapse_ray.energy.rapl import Rapl
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.series import Series
from collapse_ray.energy.source import Source
from collapse_ray.energy.window import DeviceEnergy, device_energy, total_energy_j

SETTLE_S = 2.0
"""A window waits no longer than this for the reads that close it; without faults it is 0.2 s."""

_log = logging.getLogger(__name__)


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

    Devices are found when the meter is entered: GPUs through NVML, CPUs and memory through RAPL. What a device does
    never raises here: it shows as a gap with its reason.

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
        self._sampler = Sampler([])
        self._lock = threading.Lock()  # held while series change
        self._news = threading.Condition()
        self._wake = threading.Event()
        self._stop = False
        self._running = False
        self._thread = threading.Thread(target=self._run, name="energy-meter", daemon=True)

    def __enter__(self) -> Self:
        self._sources = list(self._find() if self._given is None else self._given)
        self._sampler = Sampler(self._sources, self._interval_s)
        self._sampler.step()  # counters are known before the first window opens
        self._sampler.mark()  # and soon the length of their ticks
        self._running = True
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._settle(self._sampler.mark())
        self._stop = True
        self._wake.set()
        self._thread.join(SETTLE_S)
        for source in self._sources:
            source.close()

    @property
    def absences(self) -> list[str]:
        """Why devices are missing, one sentence per source."""
        return [source.absence for source in self._sources if source.absence is not None]

    def series(self) -> dict[str, Series]:
        """Copies of the series so far, by UUID."""
        with self._lock:
            return {
                uuid: Series(series.device, list(series.points), list(series.gaps))
                for uuid, series in self._sampler.series().items()
            }

    def cross_checks(self) -> dict[str, CrossCheck]:
        """Counter against integrated power of each device that has both."""
        with self._lock:
            return self._sampler.cross_checks()

    @contextmanager
    def window(self, name: str) -> Iterator[Window]:
        """What the devices of the node use while the block runs."""
        window = Window(name, self._mark(), time.time(), _result=self._energies)
        try:
            yield window
        finally:
            window.end_monotonic_s, window.end_unix_s = self._mark(), time.time()

    def _find(self) -> list[Source]:
        node = socket.gethostname()
        found: list[Source] = [Nvml(node), Rapl(node)]
        has_cpu = any(
            device.kind == "cpu" and source.read(device.uuid).fault is None
            for source in found
            for device in source.devices()
        )
        return [*found, CpuEstimate(node, self._tdp_w)] if self._estimate and not has_cpu else found

    def _mark(self) -> float:
        time_s = self._sampler.mark()
        self._wake.set()
        return time_s

    def _energies(self, window: Window) -> list[DeviceEnergy]:
        end_s = window.end_monotonic_s
        if end_s is None:
            end_s = self._mark()
        self._settle(end_s)
        with self._lock:
            gaps = self._sampler.open_gaps()
            series = self._sampler.series()
            return [
                device_energy(series[uuid], window.begin_monotonic_s, end_s, gaps.get(uuid)) for uuid in sorted(series)
            ]

    def _settle(self, time_s: float) -> None:
        """Waits until the thread has read every device up to a mark."""
        self._wake.set()
        with self._news:
            self._news.wait_for(lambda: not self._running or self._sampler.settled(time_s), timeout=SETTLE_S)

    def _run(self) -> None:
        """The thread: whatever fails in it ends metering, never the experiment."""
        try:
            while not self._stop:
                self._wake.wait(max(0.0, min(self._sampler.due_s() - time.monotonic(), self._interval_s)))
                self._wake.clear()
                with self._lock:
                    self._sampler.step()
                with self._news:
                    self._news.notify_all()
        except Exception:
            _log.exception("the energy meter failed: what follows is unmeasured")
        finally:
            with self._news:
                self._running = False
                self._news.notify_all()
