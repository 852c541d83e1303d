"""The files that are made of metrics, dashboards and alerts."""

import json
import re
from pathlib import Path

import yaml

from collapse_ray.monitoring.alerts import ALERTS, rules
from collapse_ray.monitoring.boards import DASHBOARDS
from collapse_ray.monitoring.metrics import METRICS

MADE = "Made by `make dashboards`; do not edit."
PAGE = "docs/monitoring.md"


def files() -> dict[str, str]:
    """Content by path from the top of the repository."""
    boards = {
        f"cluster/grafana/{name}.json": json.dumps(board.to_json(), indent=1, ensure_ascii=False) + "\n"
        for name, board in DASHBOARDS.items()
    }
    text = yaml.safe_dump(rules(), sort_keys=False, allow_unicode=True, width=120)
    return {**boards, "cluster/prometheus/collapse.rules.yaml": f"# {MADE}\n{text}"}


def tables() -> dict[str, str]:
    """Tables of the documentation by name: they stand between `<!-- name -->` and `<!-- /name -->`."""
    metrics = [
        f"| `{metric.series}` | {', '.join(metric.labels) or 'none'} | {metric.help} |"  # one line each
        for metric in METRICS
    ]
    alerts = [f"| `{alert.name}` | {alert.severity} | {alert.lasting} | {_plain(alert.summary)} |" for alert in ALERTS]
    return {
        "metrics": "\n".join(["| series | labels | meaning |", "|---|---|---|", *metrics]),
        "alerts": "\n".join(["| alert | severity | after | what it says |", "|---|---|---|---|", *alerts]),
    }


def with_tables(page: str) -> str:
    """A page with its tables as they should be."""
    for name, table in tables().items():
        head, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, tail = rest.partition(f"<!-- /{name} -->")
        page = f"{head}<!-- {name} -->\n{table}\n<!-- /{name} -->{tail}"
    return page


def write(root: Path) -> None:
    """Writes all of them into a checkout."""
    for path, content in files().items():
        (root / path).write_text(content)
    page = root / PAGE
    page.write_text(with_tables(page.read_text()))


def _plain(summary: str) -> str:
    """A summary with the names of its labels for their values."""
    return re.sub(r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", lambda found: found[1].upper(), summary)
