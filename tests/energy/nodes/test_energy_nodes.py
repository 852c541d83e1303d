"""Meters on two nodes against the integrals of their GPUs' power: nodes, jobs and marks that come and go."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_gpus import Gpu
from node_driver import Driver, enter, leave, run, seconds_per_mark
from node_work import Plan
from simulated_nodes import Lateness, Nodes, check_gpus, check_stages, joules, wait_until, whole

from collapse_ray.ledger.meter_actor import node_label
from collapse_ray.ledger.service import WATCH_S

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STAGES = ((1, "train", 2.3), (1, "generate", 1.1), (1, "evaluate", 0.7), (2, "train", 1.9), (2, "generate", 0.9))
START_S = 30.0
"""A process of Ray's has started by then, on a machine that is busy."""
MARK_S = 0.005
PAUSE_S = 3.0
"""Between two jobs."""

DIGITS = """
source: digits
family: {kind: vae, latent_size: 4, hidden: [8]}
regime: replace
depth: 1
train: {steps: 30, batch_size: 36, precision: bf16}
generate: {block_size: 32}
evaluate: {num_samples: 64, metrics: [variance_ratio]}
"""


def test_stages_of_both_nodes_cost_the_integral_of_their_power(
    nodes: Nodes, shared_driver: Driver, store: str, lateness: Lateness
) -> None:
    plans = [
        Plan(node, gpus, f"on-{gpus[0].uuid}", STAGES)
        for node, (first, *others) in nodes.gpus.items()
        for gpus in ((first,), tuple(others))
    ]
    key = shared_driver(enter, store)
    stages = shared_driver(run, key, plans)
    shared_driver(leave)
    ledger = whole(store)
    assert len(stages) == 6 * len(STAGES)
    check_stages(ledger, stages, lateness)
    check_gpus(ledger, nodes)
    assert joules(ledger, "node").keys() == {(node_label(node),) for node in nodes.gpus}


def test_a_node_that_joins_late_is_metered(nodes: Nodes, shared_driver: Driver, store: str) -> None:
    key = shared_driver(enter, store)
    joined_s = time.monotonic()
    with nodes.joined(Gpu("GPU-c0", "constant", low=120)) as node:
        unix_s = time.time() - time.monotonic()
        stages = shared_driver(run, key, [Plan(node, nodes.gpus[node], "late", ((1, "train", 2.0),))])
        shared_driver(leave)
    ledger = whole(store)
    check_gpus(ledger, nodes)
    frame = ledger.entries.to_pandas()
    begin_s = frame[frame["node"] == node_label(node)]["begin_unix_s"].min() - unix_s
    assert begin_s < joined_s + WATCH_S + START_S
    assert {one.node for one in stages} == {node}


def test_two_jobs_share_meters_and_ledger(
    nodes: Nodes, shared_driver: Driver, other_driver: Driver, store: str, lateness: Lateness
) -> None:
    """The one that stays goes on as if nothing had happened when the other ends."""
    first, second = shared_driver, other_driver
    key = first(enter, store)
    assert second(enter, store) == key
    pids = {nodes.meter(key, node)["Pid"] for node in nodes.gpus} | {nodes.ledger(key)["Pid"]}
    short = [Plan(node, gpus[:1], f"first-{gpus[0].uuid}", ((1, "train", 1.5),)) for node, gpus in nodes.gpus.items()]
    long = [Plan(node, gpus[1:2], f"second-{gpus[1].uuid}", STAGES[:3]) for node, gpus in nodes.gpus.items()]
    going = second.start(run, key, long)
    stages = first(run, key, short)
    first(leave)
    stages += going.result()
    assert {nodes.meter(key, node)["Pid"] for node in nodes.gpus} | {nodes.ledger(key)["Pid"]} == pids
    second(leave)
    ledger = whole(store)
    check_stages(ledger, stages, lateness)
    check_gpus(ledger, nodes)
    assert len({row["meter"] for row in ledger.totals.to_pylist()}) == len(nodes.gpus)
    for node in nodes.gpus:  # the last job took them along
        wait_until(lambda node=node: nodes.meter(key, node)["State"] == "DEAD")
    time.sleep(PAUSE_S)
    begin_s = time.monotonic()
    assert first(enter, store) == key
    first(leave)
    duration_s = time.monotonic() - begin_s
    both = joules(whole(store), "node", "device")
    told = joules(ledger, "node", "device")
    for node, gpus in nodes.gpus.items():  # what was used while no job ran is nobody's
        for gpu in gpus:
            account = (node_label(node), gpu.uuid)
            assert 0 < both[account] - told[account] <= gpu.energy_j(begin_s, begin_s + duration_s)


def test_marks_cost_nothing_where_the_meter_hangs_or_is_absent(nodes: Nodes, shared_driver: Driver, store: str) -> None:
    node = next(iter(nodes.gpus))
    key = shared_driver(enter, store)
    meter = psutil.Process(nodes.meter(key, node)["Pid"])
    meter.suspend()
    try:
        hung = shared_driver(seconds_per_mark, key, node, 50)
    finally:
        meter.resume()
    shared_driver(leave)
    whole(store)
    absent = shared_driver(seconds_per_mark, "nobody", node, 50)
    for costs in (hung, absent):
        assert statistics.median(costs) < MARK_S / 10
        assert statistics.mean(costs) < MARK_S


def test_workers_of_a_run_that_span_nodes_are_accounted_for_on_both(nodes: Nodes, tmp_path: Path, store: str) -> None:
    spec = tmp_path / "digits.yaml"
    spec.write_text(DIGITS)
    settings = {"store": store, "address": nodes.address, "workers": 2, "cpus_per_worker": 3}
    command = [sys.executable, "-m", "collapse_ray.cli.main", "run", str(spec)]
    command += [f"run.{name}={value}" for name, value in settings.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ledger = whole(store)
    told = ledger.by(["node", "kind", "stage"])
    labels = {node_label(node) for node in nodes.gpus}
    for stage in ("train", "evaluate"):
        of_stage = told[(told["kind"] == "stage") & (told["stage"] == stage)]
        assert set(of_stage["node"]) == labels
        assert min(of_stage["energy_j"].tolist()) > 0
        assert set(of_stage["quality"]) <= {"counter", "estimated"}
    check_gpus(ledger, nodes)
