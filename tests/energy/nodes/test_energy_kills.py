"""What is lost where something is killed: nothing that a counter counts, nothing twice, and the ledger adds up."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fake_gpus import Gpu
from node_driver import INTERVAL_S, Driver, enter, leave, run
from node_work import Plan
from simulated_nodes import EDGE_S, TICK_S, Nodes, check_gpus, check_stages, joules, wait_until, whole

from collapse_ray.ledger.meter_actor import LAG_S, LOOK_S, node_label

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SHORT = tuple((generation, stage, 0.6) for generation in range(1, 8) for stage in ("train", "generate"))
"""Marks that come so often that some are on their way when something is killed; each is worth six ticks."""
DEATH_S = 2.0
"""Until Ray has noticed a death and killed what depends on it, on a machine that is busy."""


def test_a_killed_meter_loses_no_counted_joule_and_no_mark(nodes: Nodes, shared_driver: Driver, store: str) -> None:
    node, (steady, ramp, uncounted) = next(iter(nodes.gpus.items()))
    plans = [
        Plan(node, (steady,), "short", SHORT),
        Plan(node, (ramp,), "long", ((1, "train", 9.0),)),
        Plan(node, (uncounted,), "uncounted", ((1, "train", 9.0),)),
    ]
    key = shared_driver(enter, store)
    going = shared_driver.start(run, key, plans)
    time.sleep(4.0)
    nodes.kill_actor(lambda: nodes.meter(key, node))
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, [one for one in stages if one.gpu.uuid != uncounted.uuid], TICK_S)
    check_gpus(ledger, nodes, but_gaps=True)
    gaps = [gap for gap in ledger.gaps.to_pylist() if gap["reason"] == "the meter was restarted"]
    assert {gap["device"] for gap in gaps if not gap["bridged"]} == {uncounted.uuid}
    assert len({row["meter"] for row in ledger.totals.to_pylist() if row["node"] == node_label(node)}) == 2


def test_a_killed_ledger_loses_nothing(nodes: Nodes, shared_driver: Driver, store: str) -> None:
    plans = [Plan(node, gpus[:2], f"on-{gpus[0].uuid}", SHORT) for node, gpus in nodes.gpus.items()]
    key = shared_driver(enter, store)
    going = shared_driver.start(run, key, plans)
    time.sleep(4.0)
    nodes.kill_actor(lambda: nodes.ledger(key))
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, stages, TICK_S)
    check_gpus(ledger, nodes)


def test_a_killed_node_loses_no_more_than_its_last_moments(
    nodes: Nodes, shared_driver: Driver, make_driver: Callable[[], Driver], store: str, tmp_path: Path
) -> None:
    gpu = Gpu("GPU-d0", "constant", low=400)
    node = nodes.add(gpu)
    other, (same, *_) = next(iter(nodes.gpus.items()))
    diary = tmp_path / "diary"
    key = shared_driver(enter, store)
    helper = make_driver()
    doomed = helper.start(run, key, [Plan(node, (gpu,), "doomed", ((1, "train", 600.0),), diary)])
    _, begin_s = await_begin(diary)
    going = shared_driver.start(run, key, [Plan(other, (same,), "other", SHORT)])
    time.sleep(5.0)
    killed_s = time.monotonic()
    nodes.kill(node)
    assert doomed.exception(60) is not None
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, stages, TICK_S)
    check_gpus(ledger, nodes)
    truth_j = gpu.energy_j(begin_s, killed_s)
    told_j = joules(ledger, "lineage")["doomed",]
    assert truth_j - gpu.energy_j(0, INTERVAL_S + LAG_S) <= told_j <= truth_j + gpu.energy_j(0, DEATH_S)


def test_a_killed_driver_and_meter_leave_what_the_next_driver_takes_over(
    nodes: Nodes, make_driver: Callable[[], Driver], store: str, tmp_path: Path
) -> None:
    """The meter is killed with the work that it measures, so nobody sees when that ended."""
    diaries = {node: tmp_path / node for node in nodes.gpus}
    driver = make_driver()
    key = driver(enter, store)
    driver.start(
        run,
        key,
        [Plan(node, gpus[:1], node, ((1, "train", 600.0),), diaries[node]) for node, gpus in nodes.gpus.items()],
    )
    begins = {node: await_begin(diary) for node, diary in diaries.items()}
    time.sleep(4.0)
    (with_meter, without_meter) = nodes.gpus
    meter = nodes.meter(key, without_meter)["Pid"]
    for pid, _ in begins.values():
        os.kill(pid, signal.SIGKILL)
    os.kill(meter, signal.SIGKILL)
    driver.kill()
    killed_s = time.monotonic()
    time.sleep(4.0)
    second = make_driver()
    assert second(enter, store) == key
    stages = second(run, key, [Plan(node, gpus[:1], "next", SHORT[:4]) for node, gpus in nodes.gpus.items()])
    second(leave)
    ledger = whole(store)
    check_stages(ledger, stages, TICK_S)
    check_gpus(ledger, nodes)
    told = joules(ledger, "lineage")
    for node, lag_s in ((with_meter, LOOK_S), (without_meter, INTERVAL_S)):
        gpu, (_, begin_s) = nodes.gpus[node][0], begins[node]
        assert abs(told[node,] - gpu.energy_j(begin_s, killed_s)) <= gpu.energy_j(0, lag_s + DEATH_S)


def test_the_mark_of_a_killed_worker_ends_with_it(
    nodes: Nodes, shared_driver: Driver, make_driver: Callable[[], Driver], store: str, tmp_path: Path
) -> None:
    node, (gpu, *_) = next(iter(nodes.gpus.items()))
    diary = tmp_path / "diary"
    key = shared_driver(enter, store)
    going = make_driver().start(run, key, [Plan(node, (gpu,), "killed", ((1, "train", 600.0),), diary)])
    pid, begin_s = await_begin(diary)
    time.sleep(3.0)
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    assert going.exception(60) is not None
    time.sleep(3.0)
    shared_driver(leave)
    ledger = whole(store)
    check_gpus(ledger, nodes)
    told_j = joules(ledger, "lineage")["killed",]
    assert gpu.energy_j(begin_s + EDGE_S, killed_s - EDGE_S) <= told_j
    assert told_j <= gpu.energy_j(begin_s, killed_s + LOOK_S + DEATH_S / 2)


def await_begin(diary: Path) -> tuple[int, float]:
    """Process and time of the stage that writes this diary, once it has begun."""
    wait_until(lambda: diary.exists() and diary.read_text().endswith("\n"))
    pid, begin_s = diary.read_text().split()
    assert psutil.pid_exists(int(pid))
    return int(pid), float(begin_s)
