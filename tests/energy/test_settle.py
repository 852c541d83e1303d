"""Streaming attribution: a settler tells what it knows in time, by marks and shares, and forgets what it told."""

import pytest
from cycles import CPU, key
from told_accounts import Told, points

from collapse_ray.energy.accumulate import Accumulator
from collapse_ray.energy.device_settler import HISTORY_S, MAX_MARKS
from collapse_ray.energy.marks import Mark
from collapse_ray.energy.series import Series
from collapse_ray.energy.settle import Settler
from collapse_ray.energy.source import Reading


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
