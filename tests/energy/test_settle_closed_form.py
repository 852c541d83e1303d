"""Streaming attribution: its accounts against the closed-form integral, from raw reads and through a sensor."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cycles import CYCLE, Cycles, key
from fake_gpus import Gpu
from told_accounts import OPEN, Told
from virtual_node import MakeNode, Node

from collapse_ray.energy.device_settler import HISTORY_S
from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Point, Series
from collapse_ray.energy.settle import Settler


def stream(cycles: Cycles, whole: Series, late_s: float = 0.02) -> Told:
    """A series and its marks as they come, settled once a second."""
    settler, told, series = Settler("node-1"), Told(), Series(whole.device)
    events: list[tuple[float, int, str, Mark | Point]] = [(point.time_s, 0, "", point) for point in whole.points]
    for index, mark in enumerate(cycles.marks):
        events.append((mark.begin_s + late_s, 1, str(index), replace(mark, end_s=OPEN)))
        events.append((mark.end_s + late_s, 2, str(index), mark))
    settle_s = 1.0
    for time_s, kind, token, item in sorted(events, key=lambda event: event[:3]):
        while settle_s < time_s:
            told.take(settler.settle(settle_s, {whole.device.uuid: series}))
            settle_s += 1.0
        if isinstance(item, Point):
            series.points.append(item)
        elif kind == 1:
            settler.begin(token, [item])
        else:
            settler.end(token, item.end_s)
    told.take(settler.settle(settle_s, {whole.device.uuid: series}, final=True))
    return told


@pytest.mark.slow
@pytest.mark.parametrize(("phase_s", "jitter_s"), [(0.03, 0.05), (0.005, 0.01)])
def test_raw_reads_without_points_at_the_marks(phase_s: float, jitter_s: float) -> None:
    # What the ticks are is learnt on the way: the first boundaries know little of it.
    cycles = Cycles(1.0, number=4)
    series = cycles.read(10, True, phase_s, jitter_s)
    told = stream(cycles, series)
    assert told.accounts.total_uj() == series.points[-1].energy_uj - series.points[0].energy_uj
    for name, true_j in cycles.truth_j().items():
        assert told.joules(name) == pytest.approx(true_j, rel=0.02)


def waveform(scale: float, sensor: str) -> Gpu:
    """The cycle as steps of a tenth of a second (times scale), with a ramp and a swing in each stage."""
    change = 0.1 if scale == 1 else 0.05
    levels = []
    for _, length_s, power_w in CYCLE:
        number = round(10 * length_s)
        swing = [i / number - 0.5 + math.sin(2 * math.pi * 0.17 * i) for i in range(number)]
        levels += [round(power_w * (1 + change * x), 1) for x in swing]
    return Gpu(wave="steps", levels=levels, period=0.1 * scale, sensor=sensor, offset=0.031)


class Metered:
    """A node in virtual time whose marks come late, settled like a node's meter does."""

    def __init__(self, node: Node) -> None:
        self.node, self.settler, self.told = node, Settler("node"), Told()
        self.settle_s = math.ceil(node.clock.time_s) + 0.3
        node.sampler.mark()

    def run_until(self, time_s: float) -> None:
        while self.settle_s < time_s:
            self.node.run_until(self.settle_s)
            self.settle()
            self.settle_s += 1.0
        self.node.run_until(time_s)

    def settle(self, final: bool = False) -> None:
        sampler = self.node.sampler
        told = self.settler.settle(self.node.clock.time_s, sampler.series(), sampler.open_gaps(), final=final)
        self.told.take(told)
        sampler.forget(self.settler.needed_from_s())

    def mark(self, time_s: float, arrival_s: float, token: str, begins: Sequence[Mark] | None) -> None:
        self.run_until(arrival_s)
        self.node.sampler.mark(time_s)
        if begins is None:
            self.settler.end(token, time_s)
        else:
            self.settler.begin(token, begins)


@pytest.mark.parametrize("late_s", [0.0, 0.03, 0.15])
@pytest.mark.parametrize("sensor", ["ideal", "a100", "h100"])
@pytest.mark.parametrize(("scale", "within"), [(1.0, 0.01), (0.1, 0.05)])
def test_stages_from_the_sensor_to_the_account(
    make_node: MakeNode, scale: float, within: float, sensor: str, late_s: float
) -> None:
    gpu = waveform(scale, sensor)
    metered, rng = Metered(make_node(gpu)), random.Random(3)
    length_s = gpu.period * len(gpu.levels)
    begin_s = math.ceil(103 / length_s) * length_s
    events, truth_j, end_s = [], defaultdict(float), begin_s
    # What is around the cycles is a stage of its own, so that `idle` holds nothing but theirs.
    bounds = [("around", -OPEN, begin_s)]
    for generation in range(6):
        for name, stage_s, _ in CYCLE:
            bounds.append((name if name == "idle" else f"{name}/{generation}", end_s, end_s + stage_s * scale))
            truth_j[name] += gpu.energy_j(end_s, bounds[-1][2])
            end_s = bounds[-1][2]
    bounds.append(("after", end_s, OPEN))
    for token, from_s, to_s in bounds:
        if token == "idle":
            continue
        mark = Mark(AccountKey("stage", "node", "GPU-0", stage=token.split("/")[0]), max(from_s, 100.0))
        events.append((mark.begin_s + rng.random() * late_s, 1, mark.begin_s, token, [mark]))
        if to_s < OPEN:
            events.append((to_s + rng.random() * late_s, 0, to_s, token, None))
    for arrival_s, _, time_s, token, begins in sorted(events, key=lambda event: event[:4]):
        metered.mark(time_s, arrival_s, token, begins)
    metered.run_until(end_s + 5)
    metered.settle(final=True)
    told = metered.told
    assert {name: told.joules(name) for name in truth_j} == pytest.approx(truth_j, rel=within)
    series = metered.node.sampler.series()["GPU-0"]
    assert len(series.points) < 3 * HISTORY_S
    assert told.accounts.total_uj() == series.points[-1].energy_uj


def test_what_nothing_changes_hands_in_is_told_at_once(make_node: MakeNode) -> None:
    metered = Metered(make_node(Gpu(low=300)))
    metered.mark(102.3, 102.31, "t", [Mark(key("train", device=Device("GPU-0", "", "gpu", "node")), 102.3)])
    metered.run_until(110.5)
    assert metered.told.until_s["GPU-0"] == pytest.approx(110, abs=0.01)
    assert metered.told.joules("train") == pytest.approx(7.7 * 300, abs=0.1 * 300)
    rules = [set(account.by_rule) for _, account in metered.told.accounts]
    assert rules == [{"exclusive"}, {"exclusive"}]
