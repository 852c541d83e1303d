"""Nodes of one Ray cluster on this machine, each with fake GPUs of its own, and what a ledger must say of them."""

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fake_gpus import Gpu
from node_work import Stage
from ray.cluster_utils import Cluster

from collapse_ray.artifact.store import Store
from collapse_ray.energy.sampler import POLL_S
from collapse_ray.ledger.check import check
from collapse_ray.ledger.meter_actor import node_label
from collapse_ray.ledger.names import ledger_name, meter_name
from collapse_ray.ledger.query import Ledger, read_ledger

RELATIVE = 1e-3
TICK_S = 0.1
"""Time between updates of the counters."""
EDGE_S = TICK_S / 10
"""How well a mark is placed between two of them by polls that are 5 ms apart."""
WAIT_S = 60.0
HEALTH_MS = 1000
"""A node that was killed is known to be so after some times this."""


class Nodes:
    """A cluster; its first node is the head."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._library, self._folder = library, folder
        self.cluster = Cluster()
        self._system: dict[str, Any] | None = {"health_check_period_ms": HEALTH_MS}  # of the head
        self.gpus: dict[str, tuple[Gpu, ...]] = {}
        """Of the nodes that live."""
        self.all_gpus: dict[str, tuple[Gpu, ...]] = {}
        """Of those that were killed, too, by the ledger's name of the node."""
        self._nodes: dict[str, Any] = {}

    def add(self, *gpus: Gpu, num_cpus: int = 4) -> str:
        """A node with these GPUs; its identifier."""
        config = self._folder / f"node-{len(self.all_gpus)}.txt"
        variables = environment(self._library, config, gpus)
        node: Any = self.cluster.add_node(
            num_cpus=num_cpus,
            num_gpus=len(gpus),
            include_dashboard=False,
            env_vars=variables,
            _system_config=self._system,
        )
        self._system = None
        self.gpus[node.node_id] = self.all_gpus[node_label(node.node_id)] = gpus
        self._nodes[node.node_id] = node
        return node.node_id

    @contextmanager
    def joined(self, *gpus: Gpu) -> Iterator[str]:
        """A node that is there in the block, unless it is killed before its end."""
        node = self.add(*gpus)
        try:
            yield node
        finally:
            if node in self.gpus:
                self.kill(node)

    @property
    def address(self) -> str:
        """For drivers."""
        address = self.cluster.address
        assert address is not None
        return address

    def kill(self, node: str) -> None:
        """All its processes, at once."""
        del self.gpus[node]
        self.cluster.remove_node(self._nodes.pop(node), allow_graceful=False)

    def meter(self, key: str, node: str) -> dict[str, Any]:
        """What Ray knows of a meter actor."""
        return self._actor(meter_name(key, node))

    def ledger(self, key: str) -> dict[str, Any]:
        """What Ray knows of a ledger actor."""
        return self._actor(ledger_name(key))

    def _actor(self, name: str) -> dict[str, Any]:
        actors = self.cluster.global_state.actor_table(None, None, None).values()
        named = (actor for actor in actors if actor["Name"] == name)
        return max(named, key=lambda actor: actor["StartTime"], default={"State": "ABSENT"})

    def kill_actor(self, find: Callable[[], dict[str, Any]]) -> float:
        """Kills the process of an actor; returns when, once Ray has started another."""
        before = find()
        killed_s = time.monotonic()
        os.kill(before["Pid"], signal.SIGKILL)
        wait_until(lambda: find()["State"] == "ALIVE" and find()["Pid"] != before["Pid"])
        return killed_s


def environment(library: Path, config: Path, gpus: Iterable[Gpu]) -> dict[str, str]:
    """What makes the processes of a node see these GPUs, and the modules of these tests."""
    config.write_text("".join(gpu.line() for gpu in gpus))
    return {
        "LD_LIBRARY_PATH": str(library.parent),
        "FAKE_NVML": str(config),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]),
        "TMPDIR": str(config.parent),
    }


def wait_until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until_s, f"not within {WAIT_S:g} s"
        time.sleep(0.05)


def whole(store: str) -> Ledger:
    """The ledger of a store, which adds up and has nothing negative in it."""
    assert check(Store(store)) == []
    ledger = read_ledger(Store(store))
    energies_uj = ledger.entries["energy_uj"].drop_null().to_pylist()
    assert min(energies_uj) >= 0
    return ledger


def joules(ledger: Ledger, *columns: str) -> dict[tuple[Any, ...], float]:
    """Measured joules by some columns of the ledger."""
    sums = ledger.sums(columns)
    return {group: sum(uj or 0 for uj, _ in by_quality.values()) / 1e6 for group, by_quality in sums.items()}


class Lateness(threading.Thread):
    """How late threads are woken on this machine meanwhile: as late are reads at a mark, when others use its CPUs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.worst_s = 0.0

    def __enter__(self) -> "Lateness":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.is_set():
            before_s = time.monotonic()
            time.sleep(POLL_S)
            self.worst_s = max(self.worst_s, time.monotonic() - before_s - POLL_S)


def check_stages(ledger: Ledger, stages: Iterable[Stage], lateness: Lateness) -> None:
    """Every account of the stages is the integral of its GPU's power over the times of their marks."""
    edge_s = EDGE_S + 2 * lateness.worst_s
    told = joules(ledger, "node", "device", "lineage", "generation", "stage")
    bounds: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in stages:
        account = (node_label(one.node), one.gpu.uuid, one.lineage, one.generation, one.stage)
        error_j = RELATIVE * one.most_j + 2 * edge_s * most_w(one.gpu)
        bounds[account][0] += one.least_j - error_j
        bounds[account][1] += one.most_j + error_j
    wrong = {account: (told.get(account), *one) for account, one in bounds.items() if not within(told, account, one)}
    assert not wrong, wrong


def most_w(gpu: Gpu) -> float:
    return max(gpu.levels) if gpu.levels else gpu.low if gpu.wave == "constant" else gpu.high


def within(told: dict[tuple[Any, ...], float], account: tuple[Any, ...], bounds: list[float]) -> bool:
    return account in told and bounds[0] <= told[account] <= bounds[1]


def check_gpus(ledger: Ledger, nodes: Nodes, *, but_gaps: bool = False) -> None:
    """All accounts of a GPU together are the integral of its power, from the first to the last second that is told.

    Args:
        ledger: To check.
        nodes: Whose GPUs it tells of.
        but_gaps: Gaps that no counter bridged are allowed: their joules are missing, and no others.
    """
    told = {one: energy_j for one, energy_j in joules(ledger, "node", "device").items() if one[1].startswith("GPU-")}
    frame = ledger.entries.to_pandas()
    unix_s = time.time() - time.monotonic()
    gaps = [gap for gap in ledger.gaps.to_pylist() if not gap["bridged"]]
    assert but_gaps or gaps == []
    for (node, gpu), energy_j in told.items():
        (device,) = (one for one in nodes.all_gpus[node] if one.uuid == gpu)
        rows = frame[(frame["node"] == node) & (frame["device"] == gpu)]
        truth_j = device.energy_j(rows["begin_unix_s"].min() - unix_s, rows["end_unix_s"].max() - unix_s)
        missing_j = sum(
            device.energy_j(gap["begin_s"] - unix_s, gap["end_s"] - unix_s)
            for gap in gaps
            if (gap["node"], gap["device"]) == (node, gpu)
        )
        error_j = RELATIVE * truth_j + 2 * TICK_S * most_w(device)
        assert abs(energy_j - (truth_j - missing_j)) <= error_j, (node, gpu, energy_j, truth_j, missing_j)
