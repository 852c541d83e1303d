"""A lineage over hosts with networks of their own: a pulled cable and a power cut change nothing of what comes out."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from hosts import Host, Hosts, refused, switched
from ray_commands import BIN, environment_with_token
from stores import metrics, records, shards

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.check import check
from collapse_ray.ledger.query import read_ledger

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

WORKERS = 4
CPUS_OF_NODE = 4
"""Logical; two workers of two fill a host, and none fits on the head, which reads the data."""
QUICK = '{"health_check_period_ms": 1000, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 3}'


class Cluster:
    """Ray on hosts, with a token."""

    def __init__(self, hosts: Hosts, running: ExitStack) -> None:
        self.address = f"{hosts.address('head')}:6379"
        self._hosts = hosts
        self._running = running
        self._environment = environment_with_token()
        self.nodes = dict[str, Host]()
        self.start("head", "--head", "--port=6379", "--num-cpus=1", f"--system-config={QUICK}")

    def start(self, name: str, *arguments: str) -> Host:
        """Boots a host, and starts Ray on it."""
        host = self.nodes[name] = self._hosts.start(name)
        how = arguments or (f"--address={self.address}", f"--num-cpus={CPUS_OF_NODE}")
        log = self._hosts.folder / f"{name}.log"
        ray = self.run(name, str(BIN / "ray"), "start", "--block", f"--node-ip-address={host.address}", *how, log=log)
        self._running.callback(ray.wait)
        self._running.callback(host.power_off)
        until(lambda: "Ray runtime started" in log.read_text(), lambda: ray.poll() is None, log.read_text)
        return host

    def run(self, name: str, *command: str, log: Path) -> "subprocess.Popen[bytes]":
        """Starts a command on a host."""
        with log.open("w") as file:
            shell = self.nodes[name].shell
            return subprocess.Popen([*shell, *command], env=self._environment, stdout=file, stderr=file)

    def collapse(self, *arguments: str, log: Path) -> "subprocess.Popen[bytes]":
        """Starts a command of ours on the head."""
        return self.run("head", sys.executable, "-m", "collapse_ray.cli.main", *arguments, log=log)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head, and two hosts that compute."""
    if (why := refused()) is not None:
        pytest.skip(why)
    names = ["head", "one", "two", "three", "four"]
    with switched(names, tmp_path_factory.mktemp("hosts")) as hosts, ExitStack() as running:
        cluster = Cluster(hosts, running)
        cluster.start("one")
        cluster.start("two")
        yield cluster


def until(condition: Callable[[], bool], going: Callable[[], bool], what: Callable[[], object]) -> None:
    until_s = time.monotonic() + 300
    while not condition():
        assert going(), what()
        assert time.monotonic() < until_s, what()
        time.sleep(0.01)


def in_training(store: Path, generation: int) -> bool:
    """A generation is in the middle of its training: its first checkpoint is there."""
    return len(records(store, "evaluation")) == generation - 1 and any((store / "checkpoints").glob("*/*.json"))


def test_doctor_finds_nothing_wrong(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    doctor = cluster.collapse("doctor", f"--address={cluster.address}", f"--store={tmp_path}", "--json", log=log)
    assert doctor.wait(120) == 0, log.read_text()
    findings = json.loads(log.read_text().splitlines()[-1])["findings"]
    network = [one for one in findings if one["check"] == "network"]
    assert [one["status"] for one in network] == ["ok"] * 3
    assert all("all-reduce over gloo, 3 nodes" in one["found"] for one in network)


def test_a_lost_network_and_a_lost_host_change_nothing(
    cluster: Cluster, spec_file: Path, tmp_path: Path, of_four_workers: Path
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    given = ["run", str(spec_file), f"run.store={store}", f"run.address={cluster.address}", f"run.workers={WORKERS}"]
    given += ["run.cpus_per_worker=2", "run.window_steps=10", "run.checkpoint_every=10"]
    driver = cluster.collapse(*given, log=log)
    until(lambda: in_training(store, 2), lambda: driver.poll() is None, log.read_text)
    cluster.nodes["one"].unplug()
    cluster.start("three")
    until(lambda: in_training(store, 3), lambda: driver.poll() is None, log.read_text)
    cluster.nodes["two"].power_off()
    cluster.start("four")
    assert driver.wait(400) == 0, log.read_text()

    assert shards(store) == shards(of_four_workers)
    assert metrics(store) == metrics(of_four_workers)
    assert {record.realised["world_size"] for record in records(store, "model").values()} == {WORKERS}
    assert check(Store(str(store))) == []
    entries = pd.DataFrame(read_ledger(Store(str(store))).entries.to_pylist())
    hosts = {node.rpartition("-")[0] for node in entries.loc[entries["stage"].eq("train"), "node"]}
    assert hosts == {"one", "two", "three", "four"}
