"""Grafana dashboards as JSON: panels in rows of 24 columns, each with its queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
HEIGHT = 8


@dataclass(frozen=True)
class Query:
    """PromQL, and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One figure."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    """As Grafana names them: `joule`, `watt`, `s`, `percentunit`, `short`."""
    kind: Literal["timeseries", "stat", "bargauge", "table"] = "timeseries"
    width: int = 8
    stacked: bool = False

    def to_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at a place of the grid."""
        instant = self.kind != "timeseries"
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": HEIGHT, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": {"unit": self.unit, "custom": self._custom}, "overrides": []},
            "options": self._options,
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": DATASOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend or "__auto",
                    "instant": instant,
                    "range": not instant,
                    "format": "table" if self.kind == "table" else "time_series",
                }
                for index, query in enumerate(self.queries)
            ],
            **({"transformations": [_WITHOUT_TIME]} if self.kind == "table" else {}),
        }

    @property
    def _custom(self) -> dict[str, Any]:
        if self.kind != "timeseries":
            return {}
        stacking = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40} if self.stacked else {}
        return {"drawStyle": "line", "lineWidth": 1, "showPoints": "auto", "spanNulls": True, **stacking}

    @property
    def _options(self) -> dict[str, Any]:
        reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}}
        options: dict[str, dict[str, Any]] = {
            "timeseries": {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
            "stat": {**reduced, "graphMode": "none", "colorMode": "value", "textMode": "value_and_name"},
            "bargauge": {**reduced, "orientation": "horizontal", "displayMode": "basic"},
            "table": {"showHeader": True},
        }
        return options[self.kind]


_WITHOUT_TIME = {"id": "organize", "options": {"excludeByName": {"Time": True}}}


@dataclass(frozen=True)
class Section:
    """Panels under a heading, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice of values of a label, all of them unless told otherwise."""

    label: str
    series: str
    """Whose label it is."""

    def to_json(self) -> dict[str, Any]:
        query = f"label_values({self.series}, {self.label})"
        return {
            "name": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": "variable"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


@dataclass(frozen=True)
class Dashboard:
    """A page of Grafana."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]

    @property
    def panels(self) -> list[Panel]:
        return [panel for section in self.sections for panel in section.panels]

    def to_json(self) -> dict[str, Any]:
        """The dashboard as Grafana imports it."""
        source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["collapse-ray"],
            "schemaVersion": 39,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": [source, *(variable.to_json() for variable in self.variables)]},
            "panels": _placed(self.sections),
        }


def _placed(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Panels and headings at their places: a panel that does not fit begins the next line."""
    placed: list[dict[str, Any]] = []
    y = 0
    for section in sections:
        grid = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        placed.append({"id": len(placed) + 1, "type": "row", "title": section.title, "gridPos": grid, "panels": []})
        x, y = 0, y + 1
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            placed.append(panel.to_json(len(placed) + 1, x, y))
            x += panel.width
        y += HEIGHT
    return placed
