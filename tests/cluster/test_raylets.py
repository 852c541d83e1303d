"""A lineage whose workers span two nodes, one of which is killed: what comes out is what one node makes of it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray.cluster_utils import Cluster
from stores import metrics, records, shards

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.check import check
from collapse_ray.ledger.query import read_ledger

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

WORKERS = 4
CPUS_OF_NODE = 4.0
"""Logical; two workers of two fill a node, and none fits on the head, which reads the data."""


@pytest.fixture
def raylets() -> Iterator[tuple[Cluster, list[Any]]]:
    """A head for driver and data, and two nodes for two workers each."""
    cluster = Cluster()
    cluster.add_node(
        num_cpus=1, include_dashboard=True, dashboard_port=0, _system_config={"health_check_period_ms": 1000}
    )
    nodes = [cluster.add_node(num_cpus=CPUS_OF_NODE) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, nodes
    cluster.shutdown()


def collapse(spec: Path, store: Path, *overrides: str) -> list[str]:
    command = [sys.executable, "-m", "collapse_ray.cli.main", "run", str(spec), f"run.store={store}", *overrides]
    return [*command, f"run.workers={WORKERS}", "run.window_steps=10", "run.checkpoint_every=20"]


def test_a_killed_node_changes_nothing(raylets: tuple[Cluster, list[Any]], spec_file: Path, tmp_path: Path) -> None:
    cluster, nodes = raylets
    spanned, alone = tmp_path / "spanned", tmp_path / "alone"
    driver = subprocess.Popen(collapse(spec_file, spanned, f"run.address={cluster.address}", "run.cpus_per_worker=2"))
    until_s = time.monotonic() + 300
    while not is_training(spanned):
        assert driver.poll() is None, "the lineage ended before the node could be killed"
        assert time.monotonic() < until_s, "no generation was trained in time"
        time.sleep(0.01)
    cluster.remove_node(nodes[0], allow_graceful=False)
    published = {key: record.created_at for key, record in records(spanned, "model").items()}
    cluster.add_node(num_cpus=CPUS_OF_NODE)
    assert driver.wait(400) == 0

    subprocess.run(collapse(spec_file, alone, "run.cpus_per_worker=0.5", "run.meter.enabled=false"), check=True)
    assert shards(spanned) == shards(alone)
    assert metrics(spanned) == metrics(alone)
    after = {key: record.created_at for key, record in records(spanned, "model").items()}
    assert {key: after[key] for key in published} == published
    assert {record.realised["world_size"] for record in records(spanned, "model").values()} == {WORKERS}
    # The ledger has the stages of every node on which workers were, the killed one's included, and adds up.
    store = Store(str(spanned))
    assert check(store) == []
    entries = pd.DataFrame(read_ledger(store).entries.to_pylist())
    assert entries.loc[entries["stage"].eq("train"), "node"].nunique() == 3


def is_training(store: Path) -> bool:
    """Generation 2 is in the middle of its training: its first checkpoint is there."""
    return len(records(store, "evaluation")) == 1 and any((store / "checkpoints").glob("*/*.json"))
