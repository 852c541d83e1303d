"""Streaming attribution: what nobody read is bridged by the counter or unmeasured, and no energy is lost with it."""

from dataclasses import replace

import pytest
from cycles import CPU, GPU, key
from told_accounts import Told, points

from collapse_ray.energy.accumulate import Accumulator, Before
from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Gap, Point, Series
from collapse_ray.energy.settle import UNSEEN_S, Settler
from collapse_ray.energy.source import Reading


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
