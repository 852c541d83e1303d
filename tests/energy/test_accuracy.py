"""Windows of 30 s against the integral of the waveform: at most 0.1 % off when nothing fails."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from fake_gpus import Gpu
from virtual_node import MakeNode

WAVES = {
    "constant": Gpu(),
    "square-50": Gpu(wave="square", low=100, high=400, period=2.13, duty=0.5),
    "square-20": Gpu(wave="square", low=100, high=400, period=2.13, duty=0.2),
    "square-20-fast": Gpu(wave="square", low=80, high=700, period=1.07, duty=0.2),
    "ramp": Gpu(wave="ramp", low=60, high=700, period=7.3),
    "steps": Gpu(wave="steps", levels=(90, 350, 200, 700), period=1.7),
}
SENSORS = {"ideal": 0.0, "a100": 0.031, "h100": 0.077}
NUM_WINDOWS = 25


def begins(seed: int) -> list[float]:
    """Windows at random phases of tick and waveform."""
    rng = random.Random(seed)
    return [105 + 35 * i + rng.random() * 3 for i in range(NUM_WINDOWS)]


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("wave", WAVES)
def test_one_gpu(make_node: MakeNode, wave: str, sensor: str) -> None:
    gpu = replace(WAVES[wave], sensor=sensor, offset=SENSORS[sensor])
    node = make_node(gpu)
    errors = []
    for at_s in begins(seed=0):
        begin_s, end_s, energies = node.window(at_s, 30.0)
        device = energies["GPU-0"]
        assert device.energy_j is not None
        assert (device.quality, device.gaps) == ("counter", ())
        errors.append(abs(device.energy_j / gpu.energy_j(begin_s, end_s) - 1))
    assert max(errors) < 1e-3, f"{max(errors):.2%}"


@pytest.mark.parametrize("sensor", SENSORS)
def test_eight_mixed_gpus(make_node: MakeNode, sensor: str) -> None:
    waves = [*WAVES.values(), Gpu(low=70), Gpu(wave="square", low=60, high=500, period=11, duty=0.3)]
    gpus = [
        replace(gpu, uuid=f"GPU-{i}", sensor=sensor, offset=SENSORS[sensor] + 0.013 * i) for i, gpu in enumerate(waves)
    ]
    node = make_node(*gpus)
    for at_s in begins(seed=1)[:8]:
        begin_s, end_s, energies = node.window(at_s, 30.0)
        total_j = sum(device.energy_j or 0 for device in energies.values())
        assert len(energies) == 8
        assert total_j == pytest.approx(sum(gpu.energy_j(begin_s, end_s) for gpu in gpus), rel=1e-3)


@pytest.mark.parametrize("more", ["tick=0.02", "tick=0.001"])
def test_counters_that_tick_faster(make_node: MakeNode, more: str) -> None:
    gpu = Gpu(wave="square", low=100, high=400, period=2.13, duty=0.2, more=more)
    node = make_node(gpu)
    for at_s in begins(seed=2)[:8]:
        begin_s, end_s, energies = node.window(at_s, 30.0)
        assert energies["GPU-0"].energy_j == pytest.approx(gpu.energy_j(begin_s, end_s), rel=1e-3)


def test_back_to_back_windows_sum_to_the_whole(make_node: MakeNode) -> None:
    gpu = Gpu(wave="ramp", low=60, high=700, period=7.3)
    node = make_node(gpu)
    marks = [node.mark(110 + 0.37 * i) for i in range(60)]
    node.run_until(140)
    parts = [node.energies(a, b)["GPU-0"].energy_j or 0 for a, b in pairwise(marks)]
    assert sum(parts) == pytest.approx(node.energies(marks[0], marks[-1])["GPU-0"].energy_j)
    assert sum(parts) == pytest.approx(gpu.energy_j(marks[0], marks[-1]), rel=1e-3)


def test_counter_and_power_are_cross_checked(make_node: MakeNode) -> None:
    node = make_node(Gpu(low=300))
    node.run_until(200)
    check = node.sampler.cross_checks()["GPU-0"]
    assert check.integrated_j == pytest.approx(check.counter_j, rel=2e-3)
    assert check.counter_j == pytest.approx(300 * 100, rel=0.02)
