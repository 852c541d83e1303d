"""The ledger's counters as Prometheus gets them from Ray's agent, over a restart of the actor that counts."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import ray

from collapse_ray.ledger.counters import Counters, Labels

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

LABELS = Labels("stage", "", "mix-1", "train", "n1", "gpu", "counter")
WAIT_S = 60.0


@ray.remote(num_cpus=0, max_restarts=1, max_task_retries=3)
class Ledger:
    """Journals first, then counts, as a ledger does."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.counters = Counters("v1", {LABELS: int(journal.read_text())}, {})

    def add(self, energy_uj: int) -> None:
        self.journal.write_text(str(int(self.journal.read_text()) + energy_uj))
        self.counters.add({LABELS: energy_uj})

    def worker(self) -> str:
        return ray.get_runtime_context().get_worker_id()


def scraped() -> dict[str, float]:
    """Joules of each series of ours, by the worker that counts them."""
    (node,) = ray.nodes()
    with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = re.findall(r"^ray_collapse_energy_joules_total\{.*lineage=\"mix-1\".*$", text, flags=re.MULTILINE)
    workers = [match[1] for line in lines if (match := re.search(r'WorkerId="(\w+)"', line))]
    return dict(zip(workers, (float(line.rpartition(" ")[2]) for line in lines), strict=True))


def wait_until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until_s, f"not in {WAIT_S:g} s; series: {scraped()}"
        time.sleep(0.5)


def test_totals_are_restored_after_a_restart(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="Ray serves metrics with `ray[default]` only")
    journal = tmp_path / "journal"
    journal.write_text("7500000")
    actor: Any = Ledger
    ledger = actor.remote(journal)
    first: Any = ray.get(ledger.worker.remote())
    ray.get(ledger.add.remote(2_000_000))
    wait_until(lambda: scraped().get(first) == 9.5)

    ray.kill(ledger, no_restart=False)
    wait_until(lambda: ray.get(ledger.worker.remote()) != first)
    ray.get(ledger.add.remote(500_000))
    second: Any = ray.get(ledger.worker.remote())
    wait_until(lambda: scraped().get(second) == 10.0)
    # Ray may go on showing the series of the worker that is gone: the newest is the largest.
    assert max(scraped().values()) == 10.0
    ray.kill(ledger)
