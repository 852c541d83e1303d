"""Nodes whose GPUs draw power in closed form, as in tests/energy; some fail in the middle of the window."""

import runpy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

TESTBED = Path(__file__).parents[2] / "tests" / "energy"
if TYPE_CHECKING:
    from tests.energy.fake_gpus import Gpu
else:
    Gpu = runpy.run_path(str(TESTBED / "fake_gpus.py"))["Gpu"]

BEGIN_S = 1000.0
"""Time on the GPUs' clock at which the windows would begin by the faults as they are written here."""

TICK_S = 0.1
"""Counters and power sensors are updated this often."""

UNSEEN_S = 1.0 + TICK_S
"""What a device used since the last read before a loss is lost with it: an interval of tools that read every second,
and a tick of the counter."""

SENSORS = {"ideal": 0.0, "a100": 0.031, "h100": 0.077}
"""When each kind of sensor ticks, so that the ticks of different scenarios do not coincide."""

WAVES = {
    "constant": Gpu(),
    "square 50 %": Gpu(wave="square", low=100, high=400, period=2.13, duty=0.5),
    "square 20 %": Gpu(wave="square", low=100, high=400, period=2.13, duty=0.2),
    "ramp": Gpu(wave="ramp", low=60, high=700, period=7.3),
    "steps": Gpu(wave="steps", levels=(90, 350, 200, 700), period=1.7),
}
_MIXED = [
    *WAVES.values(),
    Gpu(low=70),
    Gpu(wave="square", low=80, high=700, period=1.07, duty=0.2),
    Gpu(wave="square", low=60, high=500, period=11, duty=0.3),
]
MIXED = "8 mixed GPUs"


@dataclass(frozen=True)
class Scenario:
    """One node; `unknowable_j` is what no tool can know of a window in which something fails."""

    name: str
    sensor: str
    gpus: tuple[Gpu, ...]
    driver: str = ""
    unknowable_j: float | None = None

    @property
    def config(self) -> str:
        """The file that the fake NVML reads."""
        return "".join(gpu.line() for gpu in self.gpus) + (f"driver {self.driver}\n" if self.driver else "")

    @property
    def polls_power(self) -> bool:
        """Zeus polls the power of such GPUs from processes that never rest."""
        return "counter=0" in self.config

    def energy_j(self, begin_s: float, end_s: float) -> float:
        """The truth."""
        return sum(gpu.energy_j(begin_s, end_s) for gpu in self.gpus)


def scenarios(window_s: float) -> Iterator[Scenario]:
    """All of them, for windows of that length."""
    for name, gpu in WAVES.items():
        for sensor, offset in SENSORS.items():
            yield Scenario(name, sensor, (replace(gpu, sensor=sensor, offset=offset),))
    for sensor, offset in SENSORS.items():
        mixed = (
            replace(gpu, uuid=f"GPU-{i}", sensor=sensor, offset=offset + 0.013 * i) for i, gpu in enumerate(_MIXED)
        )
        yield Scenario(MIXED, sensor, tuple(mixed))
    yield from _faults(window_s)


def _faults(window_s: float) -> Iterator[Scenario]:
    """Of two GPUs, one fails or both; the healthy one must not suffer."""
    healthy = Gpu(uuid="GPU-healthy", low=200)
    middle_s = BEGIN_S + window_s / 2

    def node(name: str, gpu: Gpu, unknowable_j: float, driver: str = "") -> Scenario:
        return Scenario(name, "ideal", (gpu, healthy), driver, unknowable_j)

    constant, both_w = Gpu(), Gpu().low + healthy.low
    yield node("GPU lost", Gpu(more=f"fault=15@{middle_s}-1e9"), (window_s / 2 + UNSEEN_S) * constant.low)
    # The tick that it interrupts.
    yield node("counter reset", Gpu(more=f"reset={middle_s}"), TICK_S * constant.low)
    # Power is read ten times a second: when it fell in between is not known, once in every period.
    ramp = Gpu(wave="ramp", low=100, high=500, period=7.3)
    fallen_j = (window_s / ramp.period + 1) * TICK_S / 2 * (ramp.high - ramp.low)
    yield node("no counter", replace(ramp, more="counter=0"), fallen_j)
    yield node("NOT_SUPPORTED", replace(ramp, more="fault=3@0-1e9@counter"), fallen_j)
    yield node("UNINITIALIZED", constant, 0.0, driver=f"uninit={middle_s}")
    reload_j = (window_s / 6 + UNSEEN_S) * both_w
    yield node("driver reload", constant, reload_j, driver=f"reload={middle_s}-{middle_s + window_s / 6}")
