"""What is lost where something is killed: nothing that a counter counts, nothing twice, and the ledger adds up."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fake_gpus import Gpu
from node_driver import INTERVAL_S, Driver, enter, leave, run, this_node
from node_work import Plan
from simulated_nodes import (
    EDGE_S,
    WAIT_S,
    Lateness,
    Nodes,
    check_gpus,
    check_stages,
    environment,
    joules,
    wait_until,
    whole,
)

from collapse_ray.ledger.meter_actor import LAG_S, LOOK_S, node_label

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SHORT = tuple((generation, stage, 0.6) for generation in range(1, 8) for stage in ("train", "generate"))
"""Marks that come so often that some are on their way when something is killed; each is worth six ticks."""
BUSY_S = 1.0
"""How late a thread that looks every second may be, on a machine that is busy."""


def test_a_killed_meter_loses_no_counted_joule_and_no_mark(
    nodes: Nodes, shared_driver: Driver, store: str, lateness: Lateness, tmp_path: Path
) -> None:
    """What was used while no meter lived is divided by time, which is right for the steady one."""
    node, (steady, ramp, uncounted) = next(iter(nodes.gpus.items()))
    plans = [
        Plan(node, (steady,), "short", SHORT),
        Plan(node, (ramp,), "long", ((1, "train", 10.0),), tmp_path / "diary"),
        Plan(node, (uncounted,), "uncounted", ((1, "train", 9.0),)),
    ]
    key = shared_driver(enter, store)
    going = shared_driver.start(run, key, plans)
    await_begin(tmp_path / "diary")
    time.sleep(INTERVAL_S + LAG_S)
    nodes.kill_actor(lambda: nodes.meter(key, node))
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, [one for one in stages if one.gpu.uuid != uncounted.uuid], lateness)
    check_gpus(ledger, nodes, but_gaps=True)
    gaps = [gap for gap in ledger.gaps.to_pylist() if gap["reason"] == "the meter was restarted"]
    assert {gap["device"] for gap in gaps if not gap["bridged"]} == {uncounted.uuid}
    assert len({row["meter"] for row in ledger.totals.to_pylist() if row["node"] == node_label(node)}) == 2


def test_a_killed_ledger_loses_nothing(nodes: Nodes, shared_driver: Driver, store: str, lateness: Lateness) -> None:
    plans = [Plan(node, gpus[:2], f"on-{gpus[0].uuid}", SHORT) for node, gpus in nodes.gpus.items()]
    key = shared_driver(enter, store)
    going = shared_driver.start(run, key, plans)
    time.sleep(4.0)
    nodes.kill_actor(lambda: nodes.ledger(key))
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, stages, lateness)
    check_gpus(ledger, nodes)


def test_a_killed_worker_or_node_loses_no_more_than_its_last_moments(
    nodes: Nodes, shared_driver: Driver, other_driver: Driver, store: str, lateness: Lateness
) -> None:
    """What the others do is not touched."""
    (head, (same, alone, *_)), gpu = next(iter(nodes.gpus.items())), Gpu("GPU-d0", "constant", low=400)
    key, folder = shared_driver(enter, store), Path(store).parent
    assert nodes.ledger(key)["Address"]["NodeID"] == head  # on another node it could be killed with that
    with nodes.joined(gpu) as node:
        wait_until(lambda: nodes.meter(key, node)["State"] == "ALIVE")
        killed = Plan(head, (alone,), "killed", ((1, "train", 600.0),), folder / "killed")
        doomed = Plan(node, (gpu,), "doomed", ((1, "train", 600.0),), folder / "doomed")
        failed = other_driver.start(run, key, [killed, doomed])
        (killed_pid, killed_begin_s), (doomed_pid, doomed_begin_s) = map(await_begin, (killed.diary, doomed.diary))
        going = shared_driver.start(run, key, [Plan(head, (same,), "other", SHORT)])
        time.sleep(3.0)
        killed_s = time.monotonic()
        os.kill(killed_pid, signal.SIGKILL)
        end_s = time.monotonic() + LOOK_S + BUSY_S
        time.sleep(2.0)
        doomed_s = time.monotonic()
    ended_s = await_death(doomed_pid)
    assert failed.exception(WAIT_S) is not None
    stages = going.result()
    shared_driver(leave)
    ledger = whole(store)
    check_stages(ledger, stages, lateness)
    check_gpus(ledger, nodes)
    told = joules(ledger, "lineage")
    least_j = alone.energy_j(killed_begin_s + EDGE_S, killed_s - EDGE_S)
    assert least_j <= told["killed",] <= alone.energy_j(killed_begin_s - EDGE_S, end_s)
    least_j = gpu.energy_j(doomed_begin_s, doomed_s - INTERVAL_S - LAG_S)
    assert least_j <= told["doomed",] <= gpu.energy_j(doomed_begin_s, ended_s)


def test_a_killed_driver_and_meter_leave_what_the_next_driver_takes_over(
    nodes: Nodes,
    make_driver: Callable[[str], Driver],
    other_driver: Driver,
    store: str,
    lateness: Lateness,
    tmp_path: Path,
) -> None:
    """The meter is killed with the work that it measures, so nobody sees when that ended."""
    diaries = {node: tmp_path / node for node in nodes.gpus}
    driver, second = make_driver(nodes.address), other_driver
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
    killed_s = time.monotonic()
    for pid, _ in begins.values():
        os.kill(pid, signal.SIGKILL)
    os.kill(meter, signal.SIGKILL)
    driver.kill()
    all_killed_s = time.monotonic()
    time.sleep(4.0)
    assert second(enter, store) == key
    stages = second(run, key, [Plan(node, gpus[:1], "next", SHORT[:4]) for node, gpus in nodes.gpus.items()])
    second(leave)
    ledger = whole(store)
    check_stages(ledger, stages, lateness)
    check_gpus(ledger, nodes)
    told = joules(ledger, "lineage")
    for node, before_s, after_s in ((with_meter, 0.0, LOOK_S), (without_meter, LOOK_S, 0.0)):
        gpu, (_, begin_s) = nodes.gpus[node][0], begins[node]
        least_s, most_s = killed_s - before_s - BUSY_S, all_killed_s + after_s + BUSY_S
        assert gpu.energy_j(begin_s, least_s) <= told[node,] <= gpu.energy_j(begin_s, most_s)


def test_a_driver_killed_with_its_cluster_loses_no_more_than_its_last_moments(
    fake_nvml: Path,
    folder: Path,
    make_driver: Callable[[str], Driver],
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`collapse run` without an address: workers, meter and ledger end with the driver, at once."""
    gpu = Gpu("GPU-e0", "constant", low=350)
    for name, value in environment(fake_nvml, folder / "local.txt", [gpu]).items():
        monkeypatch.setenv(name, value)
    driver = make_driver("local")
    key, node = driver(enter, store), driver(this_node)
    diary = tmp_path / "diary"
    driver.start(run, key, [Plan(node, (gpu,), "killed", ((1, "train", 600.0),), diary)])
    pid, begin_s = await_begin(diary)
    time.sleep(6.0)
    driver.kill()
    killed_s = time.monotonic()
    ended_s = await_death(pid)
    second = make_driver("local")
    assert second(enter, store) == key
    second(leave)
    told_j = joules(whole(store), "lineage")["killed",]
    assert gpu.energy_j(begin_s, killed_s - INTERVAL_S - LAG_S) <= told_j <= gpu.energy_j(begin_s, ended_s + LOOK_S)


def await_begin(diary: Path | None) -> tuple[int, float]:
    """Process and time of the stage that writes this diary, once it has begun."""
    assert diary is not None
    wait_until(lambda: diary.exists() and diary.read_text().endswith("\n"))
    pid, begin_s = diary.read_text().split()
    assert psutil.pid_exists(int(pid))
    return int(pid), float(begin_s)


def await_death(pid: int) -> float:
    """When a process ended, or was left for others to bury."""
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return time.monotonic()
