"""Processes that are not ours, on GPUs whose power and SM time are known."""

import os

import psutil
import pytest
from fake_gpus import Gpu
from virtual_node import MakeNode, Node

from collapse_ray.energy.accounts import Accounts
from collapse_ray.energy.foreign import FOREIGN, ForeignWatch, at_marks
from collapse_ray.energy.marks import AccountKey, Mark, Usage
from collapse_ray.energy.processes import process_name, with_ancestors
from collapse_ray.energy.settle import Settler

NAMES = {1: ["w1", "raylet"], 2: ["child-of-w1", "w1", "raylet"], 3: ["w2", "raylet"], 7: ["stranger", "init"]}
TRAIN = AccountKey("stage", "node", "GPU-0", "sweep", "a", 1, "train")
OTHER = AccountKey("stage", "node", "GPU-0", "sweep", "b", 1, "train")


def accounts(node: Node, *works: tuple[str, AccountKey, float, float]) -> Accounts:
    """What 30 s from 105 on cost, with marks (worker, account, begin, end) that come in time, settled once a second."""
    settler, watch, told = Settler("node"), ForeignWatch(node.source, lambda pid: NAMES.get(pid, [])), Accounts()
    ends = [(end_s, worker, None) for worker, _, _, end_s in works]
    begins = [(begin_s, worker, Mark(key, begin_s, worker=worker)) for worker, key, begin_s, _ in works]
    settles = [(float(second) + 0.3, "", None) for second in range(101, 136)]
    for time_s, token, mark in sorted([*begins, *ends, *settles], key=lambda event: event[:2]):
        node.run_until(time_s)
        if not token:
            usage = watch.look(time_s, ["GPU-0"], settler.shared)
            for one in settler.settle(time_s, node.sampler.series(), node.sampler.open_gaps(), usage):
                told.add(one.accounts)
            continue
        node.sampler.mark(time_s)
        if mark is None:
            settler.end(token, time_s)
        else:
            watch.know(token)
            settler.begin(token, [mark])
    return told


def joules(told: Accounts, kind: str) -> float:
    return sum(account.energy_uj or 0 for key, account in told if kind in (key.kind, key.lineage)) / 1e6


def test_strangers_pay_by_sm_time(make_node: MakeNode) -> None:
    node = make_node(Gpu(low=300, more="process=1:40@105-130 process=2:20@105-130 process=7:20@112-130"))
    told = accounts(node, ("w1", TRAIN, 105.5, 130.5))
    # Noticed at 121.3 for the second before; a quarter of 300 W until 130; the last look is of a whole second.
    assert joules(told, "foreign") == pytest.approx(300 / 4 * (130 - 120.3), rel=0.1)
    (foreign,) = [account for key, account in told if key.kind == "foreign"]
    assert set(foreign.by_rule) == {"sm_share"}
    assert joules(told, "foreign") + joules(told, "stage") + joules(told, "idle") == pytest.approx(300 * 35, rel=0.01)
    assert joules(told, "foreign") + joules(told, "stage") == pytest.approx(300 * 25, rel=0.01)


def test_a_stranger_that_was_there_all_the_time_is_known_from_the_first_look(make_node: MakeNode) -> None:
    node = make_node(Gpu(low=300, more="process=1:60@105-130 process=7:20@90-200"))
    told = accounts(node, ("w1", TRAIN, 105.5, 130.5))
    assert joules(told, "stage") == pytest.approx(300 * 25 * 0.75, rel=0.05)
    assert joules(told, "idle") < 300 * 1.0


def test_our_own_processes_are_no_strangers_around_their_marks(make_node: MakeNode) -> None:
    node = make_node(Gpu(low=300, more="process=1:90@105-130"))
    told = accounts(node, ("w1", TRAIN, 108.5, 120.5))
    assert joules(told, "foreign") == 0
    assert joules(told, "stage") == pytest.approx(300 * 12, rel=0.01)


def test_workers_that_share_a_gpu_pay_by_sm_time(make_node: MakeNode) -> None:
    node = make_node(Gpu(low=300, more="process=1:20@100-140 process=3:60@100-140"))
    told = accounts(node, ("w1", TRAIN, 105.5, 125.5), ("w2", OTHER, 105.6, 125.6))
    assert joules(told, "b") / joules(told, "a") == pytest.approx(3, rel=0.15)  # the first second is shared equally


@pytest.mark.parametrize("process", ["process=99:50@90-200 process=1:50@90-200", ""])
def test_where_processes_cannot_be_told_marks_rule(make_node: MakeNode, process: str) -> None:
    node = make_node(Gpu(low=300, more=process))
    told = accounts(node, ("w1", TRAIN, 105.5, 130.5))
    assert joules(told, "foreign") == 0
    assert joules(told, "stage") == pytest.approx(300 * 25, rel=0.01)


def test_usage_of_workers_is_cut_to_their_marks() -> None:
    marks = [Mark(TRAIN, 1, 4, worker="w1"), Mark(TRAIN, 2, 3, worker="w1"), Mark(TRAIN, 5, 6, worker="w1")]
    usage = [Usage("GPU-0", 3.5, 5.5, {"w1": 0.4, FOREIGN: 0.2, "w2": 0.1})]
    assert list(at_marks(usage, marks)) == [
        Usage("GPU-0", 3.5, 5.5, {FOREIGN: 0.2}),
        Usage("GPU-0", 3.5, 4, {"w1": 0.4}),
        Usage("GPU-0", 5, 5.5, {"w1": 0.4}),
    ]


def test_names_of_processes() -> None:
    own = process_name(psutil.Process())
    assert own.startswith(f"{os.getpid()}@")
    assert with_ancestors(os.getpid())[:1] == [own]
    assert process_name(psutil.Process(os.getppid())) in with_ancestors(os.getpid())
    assert with_ancestors(2**22 + 1) == []
