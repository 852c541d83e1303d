"""Dashboards, alert rules and their tables are what the code makes, and name nothing that nobody measures."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.monitoring.alerts import ALERTS
from collapse_ray.monitoring.boards import DASHBOARDS, DIVERSITY, LOSS, TAIL
from collapse_ray.monitoring.dashboard import COLUMNS, Dashboard
from collapse_ray.monitoring.files import PAGE, files, tables, with_tables
from collapse_ray.monitoring.metrics import METRICS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "cluster" / "prometheus"
GRAFANA = ROOT / "cluster" / "grafana"
RAYS = {"ray_resources", "ray_gcs_placement_group_count"}
"""Metrics of Ray's own; tests/cluster/test_prometheus.py finds them in Ray."""
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (apt-get install prometheus)")


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", expression))


@pytest.mark.parametrize("path", files())
def test_files_are_what_the_code_makes(path: str) -> None:
    assert (ROOT / path).read_text() == files()[path], "run `make dashboards`"


def test_the_page_has_the_tables_that_the_code_makes() -> None:
    page = (ROOT / PAGE).read_text()
    assert all(f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in page for name, table in tables().items())
    assert with_tables(page) == page


def test_no_other_dashboard_or_rule_lies_beside_them() -> None:
    found = [*GRAFANA.rglob("*.json"), *PROMETHEUS.glob("*.rules.yaml")]
    assert {str(path.relative_to(ROOT)) for path in found} == set(files())


def test_every_metric_is_shown_and_nothing_else() -> None:
    panels = [panel for board in DASHBOARDS.values() for panel in board.panels]
    shown = {name for panel in panels for query in panel.queries for name in named(query.expr)}
    assert shown == {metric.series for metric in METRICS} | RAYS
    assert {name for alert in ALERTS for name in named(alert.expr)} <= shown


def test_metrics_of_quality_exist() -> None:
    known = {name for kind in MetricSpec.kinds() for name in MetricSpec.resolve(kind).names}
    assert {*LOSS, *TAIL, *DIVERSITY} <= known


def unknown_to_grafana(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """What of a dashboard is no longer there after it went through Grafana's own types."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from unknown_to_grafana(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from unknown_to_grafana(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def through_grafana(board: Any) -> list[str]:
    register_default_plugins()  # types of the panels and of Prometheus' queries
    read = GrafanaDashboard.from_json(board)
    return list(unknown_to_grafana(board, json.loads(json.dumps(read, cls=JSONEncoder))))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_knows_all_that_a_dashboard_says(name: str) -> None:
    """By the types that Grafana generates from its schema, of version 10.1."""
    board = json.loads(json.dumps(DASHBOARDS[name].to_json()))
    assert through_grafana(board) == []
    panel = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    panel["targets"][0]["expression"] = panel["targets"][0].pop("expr")
    panel["fieldConfig"]["defaults"]["units"] = "joule"
    place = f".panels[{board['panels'].index(panel)}]"
    assert through_grafana(board) == [f"{place}.fieldConfig.defaults.units", f"{place}.targets[0].expression"]


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_have_places_of_their_own(board: Dashboard) -> None:
    panels = json.loads(json.dumps(board.to_json()))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert all(not one & other for one, other in combinations(cells, 2))
    assert all(0 <= x < COLUMNS for cell in cells for x, _ in cell)


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_variables_are_declared(board: Dashboard) -> None:
    text = json.dumps(board.to_json())
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == {variable["name"] for variable in board.to_json()["templating"]["list"]}


def test_grafana_reads_folders_that_ray_does_not_rewrite() -> None:
    """Ray deletes the `grafana` folder of a session's metrics and writes it anew whenever a head starts."""
    ours, rays = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "collapse.yaml").read_text())["providers"]
    assert ours["options"]["path"] == "$COLLAPSE_DASHBOARDS"
    assert rays["options"]["path"] == "/tmp/ray/session_latest/metrics/grafana/dashboards"
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["name"]) == ("prometheus", "Prometheus")


@promtool
def test_prometheus_takes_configuration_and_rules() -> None:
    subprocess.run(["promtool", "check", "config", PROMETHEUS / "prometheus.yaml"], check=True, capture_output=True)
    for path in PROMETHEUS.glob("*.rules.yaml"):
        subprocess.run(["promtool", "check", "rules", "--lint-fatal", path], check=True, capture_output=True)


@pytest.mark.slow
@promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    cases = Path(__file__).parent / "alert_cases.yaml"
    asked = {
        case["alertname"] for test in yaml.safe_load(cases.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert asked == {alert.name for alert in ALERTS}
    done = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
