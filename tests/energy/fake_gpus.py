"""Fake GPUs as tests describe them, and the closed-form energy of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor


@dataclass(frozen=True)
class Gpu:
    """Power is `low` watts (constant), a square, a ramp, or steps of `period` seconds each; see fake_nvml.c."""

    uuid: str = "GPU-0"
    wave: str = "constant"
    low: float = 300.0
    high: float = 300.0
    period: float = 2.0
    duty: float = 0.5
    levels: Sequence[float] = ()
    sensor: str = "ideal"
    offset: float = 0.0
    more: str = ""
    """Faults and other fields, as fake_nvml.c takes them."""

    def line(self) -> str:
        levels = f" levels={','.join(map(str, self.levels))}" if self.levels else ""
        return (
            f"gpu uuid={self.uuid} wave={self.wave} low={self.low} high={self.high} period={self.period} "
            f"duty={self.duty}{levels} sensor={self.sensor} offset={self.offset} {self.more}\n"
        )

    def energy_j(self, begin_s: float, end_s: float) -> float:
        return self._integral(end_s) - self._integral(begin_s)

    def _integral(self, time_s: float) -> float:
        num_periods, rest_s = floor(time_s / self.period), time_s % self.period
        if self.wave == "square":
            on_s = self.duty * self.period
            whole_j = self.high * on_s + self.low * (self.period - on_s)
            return num_periods * whole_j + self.high * min(rest_s, on_s) + self.low * max(0.0, rest_s - on_s)
        if self.wave == "ramp":
            slope = (self.high - self.low) / self.period
            return num_periods * self.period * (self.low + self.high) / 2 + self.low * rest_s + slope * rest_s**2 / 2
        if self.wave == "steps":
            rounds, steps = divmod(num_periods, len(self.levels))
            done = rounds * sum(self.levels) + sum(self.levels[:steps])
            return done * self.period + self.levels[steps] * rest_s
        return self.low * time_s
