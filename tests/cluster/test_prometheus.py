"""A real Prometheus scrapes Ray while a lineage runs: all that dashboards and alerts ask for is there."""

import json
import math
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import ray
import yaml
from sweeps import STOP, gaussians

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.service import metering
from collapse_ray.lineage.gauges import LineageGauges
from collapse_ray.lineage.launch import check_all, run_on_ray
from collapse_ray.lineage.progress import each_of
from collapse_ray.lineage.spec import load_experiment
from collapse_ray.monitoring.alerts import ALERTS
from collapse_ray.monitoring.boards import DASHBOARDS
from collapse_ray.monitoring.metrics import METRICS
from collapse_ray.search.gauges import RunGauges, SweepGauges
from collapse_ray.search.runner import run_sweep

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus (apt-get install prometheus)"),
]

CLUSTER = Path(__file__).parents[2] / "cluster"
WAIT_S = 60.0
NORMAL = """
source: {kind: normal, num_samples: 50}
family: gaussian
regime: replace
evaluate: {num_samples: 32, metrics: [real_test_loss]}
"""
TEXT = """
family: {kind: transformer, num_layers: 1, num_heads: 1, hidden_size: 8}
regime: replace
depth: 2
train: {steps: 20, batch_size: 4}
generate: {block_size: 16}
evaluate:
  num_samples: 32
  metrics: [real_test_loss, rare_token_survival, vocabulary_coverage, distinct_n, novel_ngrams]
"""


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """Of the series that a query gives now."""
        return [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]

    @property
    def names(self) -> set[str]:
        """All series that it has."""
        return set(self.ask("label/__name__/values"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[Prometheus]:
    """With the configuration that is shipped, but the file of this very Ray, another port and other intervals."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((CLUSTER / "prometheus" / "prometheus.yaml").read_text())
    session = Path(ray.get_runtime_context().get_session_name())
    assert session.name
    (discovery,) = config["scrape_configs"][0]["file_sd_configs"]
    (found,) = discovery["files"]
    discovery["files"] = [str(Path(found).parent / session / Path(found).name)]
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(CLUSTER / "prometheus" / name) for name in config["rule_files"]]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()


def until(condition: Callable[[], Any], what: Callable[[], object]) -> None:
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            if condition():
                return
        except URLError:
            pass  # Prometheus is starting
        assert time.monotonic() < until_s, what()
        time.sleep(0.5)


def run_lineages(folder: Path) -> object:
    """A lineage; then the same, found published, and a language model's. Both runs are metered.

    Returns:
        What shows them, as long as it is kept.
    """
    (folder / "words.txt").write_text("a lineage of models forgets rare words first. " * 40)
    (folder / "words.yaml").write_text(f"{TEXT}source: {{kind: text, path: {folder / 'words.txt'}, context: 16}}\n")
    (folder / "normal.yaml").write_text(f"{NORMAL}depth: 2\n")
    overrides = [f"run.store={folder / 'store'}", "run.cpus_per_worker=0.5", "run.window_steps=5"]
    normal, words = (load_experiment(folder / f"{name}.yaml", overrides) for name in ("normal", "words"))
    store = Store(normal.run.store)
    shown = []
    for experiments in ([normal], [normal, words]):
        tasks = check_all(experiments, store)
        listener = each_of(LineageGauges(store), RunGauges(tasks))
        shown.append(listener)
        run_on_ray(tasks, normal.run, listener, metering(store, normal.run))
    return shown


def run_a_sweep(folder: Path) -> object:
    """A sweep in which lineages collapse, metered; what shows it, as long as it is kept."""
    folder.mkdir()
    sweep = gaussians(folder, "budget.joules=1.0e+9", **STOP)
    gauges = SweepGauges(sweep)
    outcome = run_sweep(sweep, gauges, metering(Store(sweep.run.store), sweep.run))
    assert "stopped" in {lineage.state for lineage in outcome.lineages}
    return gauges


def answers(prometheus: Prometheus, expression: str) -> list[float]:
    """To a panel's query, with its variables at `All`."""
    chosen = re.sub(r"\$(lineage|experiment|ledger)\b", ".*", expression.replace("$__rate_interval", "1m"))
    assert "$" not in chosen
    return prometheus.values(chosen)


def test_everything_that_is_asked_for_is_there(prometheus: Prometheus, tmp_path: Path) -> None:
    _kept = run_lineages(tmp_path), run_a_sweep(tmp_path / "sweep")
    ours = {metric.series for metric in METRICS}
    until(lambda: ours <= prometheus.names, lambda: f"missing: {sorted(ours - prometheus.names)}")
    panels = [panel for board in DASHBOARDS.values() for panel in board.panels]
    queries = {query.expr: panel.title for panel in panels for query in panel.queries}

    def unanswered() -> list[str]:
        return [title for expr, title in queries.items() if not has_data(expr, answers(prometheus, expr))]

    until(lambda: not unanswered(), lambda: f"without data: {unanswered()}")
    asked = {name for alert in ALERTS for name in re.findall(r"\bray_\w+", alert.expr)}
    assert asked <= prometheus.names
    (group,) = prometheus.ask("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    # A rule is looked at once a second: what a query has just answered, it may not have seen yet.
    until(lambda: firing(prometheus) == ["CollapseLineageCollapsed"], lambda: f"firing: {firing(prometheus)}")


def firing(prometheus: Prometheus) -> list[str]:
    """The alerts that fire, and the rules that Prometheus has not, or not yet, worked out."""
    (group,) = prometheus.ask("rules")["groups"]
    return [rule["name"] for rule in group["rules"] if rule["state"] == "firing" or rule["health"] != "ok"]


def has_data(expression: str, values: list[float]) -> bool:
    """A share of rates is 0 / 0 once all work has ended."""
    return bool(values) and (" / " in expression or all(map(math.isfinite, values)))
