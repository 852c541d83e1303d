"""What the sampler reads, and when; against GPUs that are known in closed form."""

import random

import pytest
from fake_gpus import Gpu
from virtual_node import MakeNode

from collapse_ray.energy.edge import EdgeWatch, TickLength
from collapse_ray.energy.sampler import FIND_S


def test_the_tick_is_probed_and_known_better_with_time(make_node: MakeNode) -> None:
    node = make_node(Gpu(more="tick=0.0987"))
    node.sampler.mark()
    node.run_until(100.7)
    series = node.sampler.series()["GPU-0"]
    assert series.tick_s == pytest.approx(0.0987, rel=0.01)
    node.run_until(104)  # it looks again by itself
    assert series.tick_s == pytest.approx(0.0987, rel=3e-3)
    for second in range(106, 146, 4):
        node.mark(second + 0.37)
    node.run_until(150)
    assert series.tick_s == pytest.approx(0.0987, rel=3e-4)


def test_the_tick_is_probed_again_where_reads_came_too_late(make_node: MakeNode) -> None:
    """A machine that is busy at the start: every read comes 5 to 110 ms late for three seconds."""
    node, rng = make_node(Gpu(more="tick=0.0987")), random.Random(1)
    node.sampler.mark()
    while node.clock.time_s < 103:
        node.clock.set(max(node.sampler.due_s(), node.clock.time_s) + rng.uniform(0.005, 0.11))
        node.sampler.step()
    assert node.sampler.series()["GPU-0"].tick_s is None
    node.run_until(110)
    assert node.sampler.series()["GPU-0"].tick_s == pytest.approx(0.0987, rel=0.01)


def test_a_counter_that_moves_with_every_poll_is_current(make_node: MakeNode) -> None:
    node = make_node(Gpu(more="tick=0.001"))
    node.sampler.mark()
    node.run_until(103)
    assert node.sampler.series()["GPU-0"].tick_s == 0.0


def test_marks_name_devices_and_come_late(make_node: MakeNode) -> None:
    node = make_node(Gpu(uuid="GPU-0"), Gpu(uuid="GPU-1"))
    node.sampler.mark()
    node.run_until(105.5)
    mark_s = node.sampler.mark(105.43, {"GPU-1"})
    before_s = node.sampler.mark(104.9, {"GPU-1"})  # before the read at 105: one of now, as series only grow
    node.run_until(107)
    exact = {
        uuid: [point for point in series.points if point.exact and (point.time_s < 101 or point.time_s > 104)]
        for uuid, series in node.sampler.series().items()
    }
    assert [point.time_s for point in exact["GPU-0"]] == [pytest.approx(100, abs=0.1)]
    first, *late = exact["GPU-1"]
    assert (mark_s, before_s) == (105.43, 104.9)
    assert [point.time_s for point in late] == [105.43, pytest.approx(105.5, abs=0.01)]
    for point in late:
        assert point.energy_uj - first.energy_uj == pytest.approx(300e6 * (point.time_s - first.time_s), rel=1e-3)


def test_points_know_the_counter(make_node: MakeNode) -> None:
    node = make_node(Gpu(more="fault=3@105-108@counter"))
    node.run_until(111)
    points = node.sampler.series()["GPU-0"].points
    origins = {point.counter_uj - point.energy_uj for point in points if point.counter_uj is not None}
    assert len(origins) == 1
    assert {point.counter_uj is None for point in points if point.quality == "integrated"} == {True}


def test_forgetting_keeps_what_tells_the_energy_then(make_node: MakeNode) -> None:
    node = make_node(Gpu(), Gpu(uuid="GPU-1"))
    node.run_until(120.5)
    node.sampler.forget({"GPU-0": 115.5, "GPU-gone": 1.0})
    series = node.sampler.series()
    assert series["GPU-0"].points[0].time_s == pytest.approx(115, abs=0.01)
    assert series["GPU-1"].points[0].time_s == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize("driver", ["init=9", "init=12", "reload=99-110"])
def test_a_driver_that_comes_late_is_found(make_node: MakeNode, driver: str) -> None:
    node = make_node(driver=driver)
    node.run_until(105)
    assert node.sampler.devices() == []
    assert "no NVIDIA GPU can be read: NVML error" in (node.source.absence or "")
    node.reconfigure(Gpu())
    node.run_until(100 + 2 * FIND_S + 10)
    assert [device.uuid for device in node.sampler.devices()] == ["GPU-0"]
    assert node.source.absence is None
    assert len(node.sampler.series()["GPU-0"].points) > 5


def test_a_gpu_that_comes_late_is_found(make_node: MakeNode) -> None:
    node = make_node(Gpu())
    node.run_until(105)
    node.reconfigure(Gpu(), Gpu(uuid="GPU-1"))
    node.run_until(100 + FIND_S + 5)
    begin_s, end_s, energies = node.window(140.0, 30.0)
    assert energies["GPU-1"].energy_j == pytest.approx(300 * (end_s - begin_s), rel=1e-3)
    assert energies["GPU-0"].energy_j == pytest.approx(300 * (end_s - begin_s), rel=1e-3)


def test_the_length_of_a_tick_is_not_fooled_by_ticks_that_moved() -> None:
    ticks, rng = TickLength(0.005), random.Random(1)
    ticks.seen(None, None)
    assert ticks.tick_s is None
    ticks.seen(100 * 0.1003, 0.1007)
    for second in range(11, 400, 2):
        phase_s = 0.0 if second < 200 else 0.043  # the driver was loaded anew
        ticks.seen(round(second / 0.1003) * 0.1003 + phase_s + rng.uniform(-0.0025, 0.0025), ticks.tick_s)
    assert ticks.tick_s == pytest.approx(0.1003, rel=2e-3)


def test_a_watch_whose_polls_come_late_uses_the_next_edge() -> None:
    """300 W, edges at whole tenths of a second; the poll after the first one comes 40 ms late."""

    def counter_uj(time_s: float) -> int:
        return int(time_s * 10 + 1e-9) * 30_000_000

    watch = EdgeWatch(1.053, counter_uj(1.053), 300.0, 0.1, 0.005)
    for time_s in (1.058, 1.098, 1.138, *(1.143 + 0.005 * i for i in range(14))):
        if not watch.done:
            watch.feed(time_s, counter_uj(time_s))
    assert watch.done
    assert watch.tells
    assert watch.edge_s == pytest.approx(1.1, abs=0.003)
    assert watch.counter_at(1.05) == pytest.approx(300e6 * 1.05, abs=300e6 * 0.003)


def test_a_watch_that_sees_no_edge_well_takes_the_line_between_its_polls() -> None:
    watch = EdgeWatch(1.05, 300_000_000, 300.0, None, 0.005)
    watch.feed(1.055, 300_000_000)
    for poll in range(1, 22):
        watch.feed(1.055 + 0.1 * poll, 300_000_000 + 30_000_000 * poll)
    assert watch.done
    assert not watch.tells
    assert watch.counter_at(2.05) == pytest.approx(300e6 * 2.0, abs=300e6 * 0.06)
