"""Cycles of stages whose energy is known in closed form."""

import math

import numpy as np

from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Point, Series

GPU = Device("GPU-a", "H200", "gpu", "node-1")
CPU = Device("cpu-0", "EPYC", "cpu", "node-1")
CYCLE = (("train", 11.3, 400.0), ("generate", 4.7, 520.0), ("evaluate", 1.9, 260.0), ("idle", 2.2, 75.0))


class Cycles:
    """Stages whose power ramps by `change`, swings by `change` at 1.7 Hz, and differs by 5 % between cycles."""

    def __init__(self, scale: float, number: int = 10, change: float = 0.1):
        self.change = change
        self.loads = []
        end_s = 0.0
        for generation in range(1, number + 1):
            for name, length_s, power_w in CYCLE:
                begin_s, end_s = end_s, end_s + length_s * scale
                self.loads.append((name, generation, begin_s, end_s, power_w * (1 + 0.05 * math.sin(generation))))
        self.end_s = end_s
        self.bounds_s = [load[2] for load in self.loads] + [end_s]
        self.marks = [Mark(key(name, t), begin, end) for name, t, begin, end, _ in self.loads if name != "idle"]

    def energy_j(self, times_s) -> np.ndarray:
        """Closed-form integral of the power since 0."""
        total, omega = np.zeros(np.shape(times_s)), 2 * math.pi * 1.7
        for _, generation, begin_s, end_s, power_w in self.loads:
            length = end_s - begin_s
            x = np.clip(times_s - np.float64(begin_s), 0, length)
            ramp = self.change * (x * x / (2 * length) - x / 2)
            swing = (math.cos(generation) - np.cos(omega * x + generation)) / omega  # its phase differs between cycles
            total += power_w * (x + ramp + self.change * swing)
        return total

    def truth_j(self) -> dict[str, float]:
        sums = dict.fromkeys((name for name, *_ in CYCLE), 0.0)
        for name, _, begin_s, end_s, _ in self.loads:
            sums[name] += float(self.energy_j(end_s) - self.energy_j(begin_s))
        return sums

    def read(
        self, rate_hz: float, at_marks: bool, phase_s: float, jitter_s: float = 0.0, tick_s: float = 0.1
    ) -> Series:
        """A counter that ticks at `phase_s + k tick_s`, each tick's energy off by 2 % (normal), read at a rate."""
        rng = np.random.default_rng(7)
        polls = np.arange(0.0, self.end_s + 2 / rate_hz, 1 / rate_hz)
        polls[1:] += rng.uniform(0, jitter_s, len(polls) - 1)
        times_s = np.unique(np.concatenate([polls, self.bounds_s])) if at_marks else polls
        ticks = phase_s + tick_s * np.arange(-2, math.ceil(times_s[-1] / tick_s) + 2)
        deltas = np.diff(self.energy_j(ticks))
        shown = np.concatenate([[0.0], np.cumsum(deltas * (1 + 0.02 * rng.standard_normal(len(deltas))))])
        values = shown[np.searchsorted(ticks, times_s + 1e-9, side="right") - 1]
        points = [Point(float(t), round(float(v) * 1e6), "counter") for t, v in zip(times_s, values, strict=True)]
        return Series(GPU, points)


def key(stage: str, generation: int = 1, device: Device = GPU, lineage: str = "a") -> AccountKey:
    return AccountKey("stage", device.node, device.uuid, "sweep", lineage, generation, stage)
