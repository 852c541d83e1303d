"""A node whose GPUs are known in closed form, in virtual time."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from collapse_ray.energy.nvml import Nvml
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.window import DeviceEnergy, device_energy


class Clock:
    """Virtual time that the fake NVML shares; looking at it takes 50 microseconds."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._library.fake_nvml_set_time.argtypes = [ctypes.c_double]
        self.set(100.0)

    def __call__(self) -> float:
        self.set(self.time_s + 5e-5)
        return self.time_s

    def set(self, time_s: float) -> None:
        self.time_s = time_s
        self._library.fake_nvml_set_time(time_s)


@dataclass
class Node:
    """A sampler that runs in virtual time."""

    clock: Clock
    source: Nvml
    sampler: Sampler
    reconfigure: Callable[..., None]
    """Other GPUs from now on, as `make_node` takes them."""

    def run_until(self, time_s: float) -> None:
        while (due_s := self.sampler.due_s()) < time_s:
            self.clock.set(max(due_s, self.clock.time_s) + 3e-4)  # a thread wakes a little late
            self.sampler.step()
        self.clock.set(max(time_s, self.clock.time_s))

    def mark(self, time_s: float) -> float:
        self.run_until(time_s)
        return self.sampler.mark()

    def energies(self, begin_s: float, end_s: float) -> dict[str, DeviceEnergy]:
        gaps = self.sampler.open_gaps()
        return {uuid: device_energy(s, begin_s, end_s, gaps.get(uuid)) for uuid, s in self.sampler.series().items()}

    def window(self, begin_s: float, duration_s: float) -> tuple[float, float, dict[str, DeviceEnergy]]:
        """Its begin and end as marked, and what each device used."""
        begin_s = self.mark(begin_s)
        end_s = self.mark(begin_s + duration_s)
        self.run_until(end_s + 0.7)
        return begin_s, end_s, self.energies(begin_s, end_s)


MakeNode = Callable[..., Node]
