"""Streaming attribution: its law against arbitrary input, its accounts against the closed-form integral."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cycles import CPU, CYCLE, GPU, Cycles, key
from fake_gpus import Gpu
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_node import MakeNode, Node

from collapse_ray.energy.accounts import Accounts
from collapse_ray.energy.accumulate import Accumulator, Before
from collapse_ray.energy.device_settler import HISTORY_S, MAX_MARKS, Increment
from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.series import Device, Gap, Point, Quality, Series
from collapse_ray.energy.settle import UNSEEN_S, Settler
from collapse_ray.energy.source import Reading

OPEN = math.inf


class Told:
    """Everything that a settler told, with its law watched: time and energy are told once, in order."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.until_s: dict[str, float] = {}
        self.increments: list[Increment] = []

    def take(self, increments: Sequence[Increment]) -> None:
        for one in increments:
            assert one.begin_s >= self.until_s.get(one.device.uuid, -OPEN)
            assert one.end_s >= one.begin_s
            self.until_s[one.device.uuid] = one.end_s
            self.accounts.add(one.accounts)
            self.increments.append(one)

    def joules(self, stage: str) -> float:
        return sum(account.energy_uj or 0 for one, account in self.accounts if (one.stage or one.kind) == stage) / 1e6


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


def points(*seconds: float, watts: int = 100) -> list[Point]:
    return [Point(t, round(t * watts * 1e6), "counter", round(t * watts * 1e6)) for t in seconds]


def test_boundaries_wait_for_reads_behind_them_unless_a_point_tells() -> None:
    settler, told = Settler("node-1"), Told()
    series = Series(CPU, points(0, 1, 2, 3))
    settler.begin("t", [Mark(key("train", device=CPU), 2.5)])
    told.take(settler.settle(3.3, {"cpu-0": series}))
    assert told.until_s["cpu-0"] == 2
    series.points += points(4, 5)
    told.take(settler.settle(4.6, {"cpu-0": series}))
    assert told.until_s["cpu-0"] == 4
    assert told.joules("train") == pytest.approx(150)
    settler.end("t", 5)  # there is a point
    told.take(settler.settle(5.3, {"cpu-0": series}))
    assert told.joules("train") == pytest.approx(250)


def test_a_mark_that_comes_too_late_finds_its_time_told() -> None:
    settler, told = Settler("node-1"), Told()
    series = Series(CPU, points(*range(11)))
    told.take(settler.settle(8.5, {"cpu-0": series}))
    settler.begin("t", [Mark(key("train", device=CPU), 2)])
    told.take(settler.settle(20, {"cpu-0": series}))
    assert (told.joules("train"), told.joules("idle")) == (pytest.approx(200), pytest.approx(800))
    assert settler.end("t", 20)
    assert not settler.end("t", 20)


def test_shared_devices_go_by_declared_shares() -> None:
    settler, told = Settler("node-1"), Told()
    a, b = key("train", device=CPU), key("train", device=CPU, lineage="b")
    series = Series(CPU, points(*range(11)))
    settler.begin("a", [Mark(a, 0, share=0.25)])
    settler.begin("b", [Mark(b, 0, share=0.5)])
    for now_s in range(1, 13):
        told.take(settler.settle(now_s, {"cpu-0": series}))
    assert told.accounts[a].parts == {("counter", "declared_fraction"): pytest.approx(1000e6 / 3, abs=10)}
    assert told.accounts.total_uj() == 1000_000_000


def test_a_gap_that_is_bridged_costs_nothing() -> None:
    settler, told = Settler("node-1"), Told()
    train, evaluate = key("train", device=CPU), key("evaluate", device=CPU)
    series = Series(CPU, points(0, 1, 2))
    settler.begin("t", [Mark(train, 0)])
    told.take(settler.settle(3, {"cpu-0": series}, {"cpu-0": (2.0, "TIMEOUT")}))
    settler.end("t", 4)
    settler.begin("e", [Mark(evaluate, 4)])
    told.take(settler.settle(7, {"cpu-0": series}, {"cpu-0": (2.0, "TIMEOUT")}))
    assert told.until_s["cpu-0"] == 2
    series.points += points(8, 9, 10)
    series.gaps.append(Gap(2, 8, "TIMEOUT", bridged=True))
    told.take(settler.settle(11, {"cpu-0": series}))
    assert (told.joules("train"), told.joules("evaluate")) == (pytest.approx(400), pytest.approx(600))
    assert told.accounts[train].unmeasured_s == 0
    assert told.accounts.gaps["cpu-0"] == [Gap(2, 8, "TIMEOUT", bridged=True)]


def test_a_long_gap_is_unmeasured_and_its_energy_is_not_lost_when_the_counter_returns() -> None:
    settler, told = Settler("node-1"), Told()
    train = key("train", device=CPU)
    series, lost = Series(CPU, points(0, 1, 2)), {"cpu-0": (2.0, "GPU_IS_LOST")}
    settler.begin("t", [Mark(train, 0)])
    for now_s in range(3, 30):
        told.take(settler.settle(now_s, {"cpu-0": series}, lost))
    assert (told.joules("train"), told.accounts[train].quality) == (pytest.approx(200), "unmeasured")
    unmeasured_s = told.accounts[train].unmeasured_s
    assert 27 - 2 * UNSEEN_S <= unmeasured_s <= 27
    assert {gap.bridged for gap in told.accounts.gaps["cpu-0"]} == {False}
    series.points += points(30, 31)
    series.gaps.append(Gap(2, 30, "GPU_IS_LOST", bridged=True))
    told.take(settler.settle(40, {"cpu-0": series}))
    assert told.joules("train") == pytest.approx(3100)
    assert told.accounts[train].measured_s + told.accounts[train].unmeasured_s == pytest.approx(31)
    assert told.accounts[train].unmeasured_s == unmeasured_s


def test_a_gap_that_nothing_bridges_is_unmeasured_for_those_who_worked_and_for_idle() -> None:
    settler, told = Settler("node-1"), Told()
    train = key("train", device=CPU)
    series = Series(CPU, points(0, 1, 2), [Gap(2, 6, "lost", bridged=False)])
    series.points += [Point(6, 200_000_000, "counter"), Point(7, 300_000_000, "counter")]
    settler.begin("t", [Mark(train, 1)])
    settler.end("t", 4)
    told.take(settler.settle(10, {"cpu-0": series}))
    assert (told.joules("train"), told.accounts[train].unmeasured_s) == (100, 2)
    idle = told.accounts[AccountKey("idle", "node-1", "cpu-0")]
    assert (idle.energy_uj, idle.unmeasured_s) == (200_000_000, 2)


def test_a_gpu_that_nobody_can_read_is_unmeasured() -> None:
    settler, told = Settler("node-1"), Told()
    settler.begin("t", [Mark(key("train"), 1)])
    told.take(settler.settle(5, {}))
    assert told.increments == []  # it may still be found
    for now_s in range(6, 40):
        told.take(settler.settle(now_s, {}))
    settler.end("t", 39.5)
    told.take(settler.settle(40, {}, final=True))
    account = told.accounts[key("train")]
    assert (account.energy_uj, account.unmeasured_s) == (None, pytest.approx(38.5))
    assert {one.kind for one, _ in told.accounts} == {"stage"}
    assert told.increments[0].device == Device("GPU-a", "a GPU that this node cannot read", "gpu", "node-1")


def test_a_gpu_that_is_found_later_is_measured_from_then_on() -> None:
    settler, told = Settler("node-1"), Told()
    settler.begin("t", [Mark(key("train"), 0)])
    told.take(settler.settle(20, {}))
    series = Series(GPU, [replace(point, exact=True) for point in points(25, 26, 27)])
    told.take(settler.settle(30, {"GPU-a": series}))
    account = told.accounts[key("train")]
    assert (account.energy_uj, account.measured_s) == (200_000_000, 2)
    assert account.unmeasured_s == pytest.approx(25)
    assert told.increments[-1].device == GPU


@pytest.mark.slow
def test_what_was_told_is_forgotten() -> None:
    settler, told = Settler("node-1"), Told()
    accumulator = Accumulator(CPU, "counter", 3.0)
    for second in range(400):
        accumulator.add(Reading(float(second), second * 100_000_000))
        settler.begin(second, [Mark(key("train", second % 7, device=CPU), second + 0.5)])
        settler.end(second, second + 0.9)
        told.take(settler.settle(second + 0.95, {"cpu-0": accumulator.series}))
        accumulator.forget(settler.needed_from_s().get("cpu-0", 0.0))
    assert len(accumulator.series.points) < HISTORY_S + 10
    device = settler._devices["cpu-0"]
    assert len(device._ended) < HISTORY_S + 10
    assert len(device._bounds_s) < 20
    for second in range(400, 400 + 2 * MAX_MARKS):  # lost for good, and worked on
        settler.begin(second, [Mark(key("train", device=CPU), second + 0.5)])
        settler.end(second, second + 0.9)
        told.take(settler.settle(second + 1, {"cpu-0": accumulator.series}, {"cpu-0": (399.0, "lost")}))
    assert len(device._ended) < MAX_MARKS + 50
    assert len(device._bounds_s) < 100


def test_a_meter_goes_on_where_another_one_was_killed() -> None:
    settler, told = Settler("node-1"), Told()
    train = key("train", device=CPU)
    accumulator = Accumulator(CPU, "counter", 3.0, Before(10.0, 7_000))
    settler.begin("t", [Mark(train, 5.0)])
    told.take(settler.settle(12, {"cpu-0": accumulator.series}, {"cpu-0": accumulator.open_gap or (0, "")}))
    for second in (14, 15, 16):
        accumulator.add(Reading(float(second), 7_000 + 100 * (second - 10)))
    told.take(settler.settle(17, {"cpu-0": accumulator.series}))
    assert told.accounts[train].energy_uj == 600
    assert told.accounts.gaps["cpu-0"] == [Gap(10, 14, "the meter was restarted", bridged=True)]


@pytest.mark.parametrize("counter_uj", [None, 7_000_000_000_000])
def test_a_counter_that_cannot_be_continued_begins_anew(counter_uj: int | None) -> None:
    settler, told = Settler("node-1"), Told()
    train = key("train", device=CPU)
    accumulator = Accumulator(CPU, "counter", 3.0, Before(10.0, counter_uj))
    settler.begin("t", [Mark(train, 5.0)])
    for second in (14, 15, 16):
        accumulator.add(Reading(float(second), 5_000_000_000_000 + 100 * second))  # too much to have begun at zero
    told.take(settler.settle(17, {"cpu-0": accumulator.series}))
    account = told.accounts[train]
    assert (account.energy_uj, account.measured_s, account.unmeasured_s) == (200, 2, 4)
    assert told.accounts.gaps["cpu-0"] == [Gap(10, 14, "the meter was restarted", bridged=False)]


class Scripted:
    """A device that does what a draw says: counts, restarts, stands still, is lost, has power alone."""

    quality: Quality = "counter"
    absence: str | None = None

    def __init__(self, ticks: bool, device: Device) -> None:
        self.ticks, self.device = ticks, device
        self.counter_uj, self.time_s, self.power_w = 10**9, 0.0, 100.0
        self.state = "well"

    def devices(self) -> list[Device]:
        return [self.device]

    def step(self, seconds: float) -> None:
        self.time_s += seconds
        if self.state != "stuck":
            self.counter_uj += round(seconds * self.power_w * 1e6)

    def read(self, uuid: str) -> Reading:
        if self.state == "lost":
            return Reading(self.time_s, fault="lost")
        if self.state == "power":
            return Reading(self.time_s, power_w=self.power_w)
        return Reading(self.time_s, self.counter_uj, self.power_w)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        return self.time_s, None if self.state in ("lost", "power") else self.counter_uj

    def close(self) -> None: ...


ACTIONS = st.one_of(
    st.tuples(st.just("pass"), st.floats(0.01, 5)),
    st.tuples(st.just("pass"), st.floats(5, 30)),
    st.tuples(st.just("begin"), st.tuples(st.integers(0, 4), st.floats(0, 3))),
    st.tuples(st.just("end"), st.tuples(st.integers(0, 4), st.floats(0, 3))),
    st.tuples(st.just("state"), st.sampled_from(["well", "lost", "power", "stuck"])),
    st.tuples(st.just("power"), st.floats(0, 700)),
    st.tuples(st.just("reset"), st.just(0)),
    st.tuples(st.just("settle"), st.booleans()),
)


@pytest.mark.slow
@given(st.lists(ACTIONS, min_size=15, max_size=60), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_microjoule_is_told_once_whatever_comes(actions: list, ticks: bool, gpu: bool) -> None:
    device = GPU if gpu else CPU
    source = Scripted(ticks, device)
    sampler = Sampler([source], now=lambda: source.time_s)
    settler, told = Settler("node-1"), Told()
    sampler.step()
    first_uj = last_uj = 0

    def settle(forget: bool = False, final: bool = False) -> None:
        told.take(settler.settle(source.time_s, sampler.series(), sampler.open_gaps(), final=final))
        if forget:
            sampler.forget(settler.needed_from_s())

    for action, value in actions:
        match action:
            case "pass":
                end_s = source.time_s + value
                while source.time_s < end_s:
                    source.step(min(max(sampler.due_s() - source.time_s, 0.02), end_s - source.time_s + 1e-6))
                    sampler.step()
            case "begin":
                token, late_s = value
                mark = Mark(key("train", token, device), max(0.0, source.time_s - late_s), share=(token + 1) / 5)
                sampler.mark(mark.begin_s)
                settler.begin(token, [mark])
            case "end":
                token, late_s = value
                settler.end(token, sampler.mark(source.time_s - late_s))
            case "state":
                source.state = value
            case "power":
                source.power_w = value
            case "reset":
                source.counter_uj = 0
            case "settle":
                settle(forget=value)
        series = sampler.series()[device.uuid]
        if series.points:
            last_uj = series.points[-1].energy_uj
    settle(final=True)
    assert told.accounts.total_uj() == last_uj - first_uj
    for _, account in told.accounts:
        assert min([0, *account.parts.values()]) == 0
        assert min(account.measured_s, account.unmeasured_s) >= 0
