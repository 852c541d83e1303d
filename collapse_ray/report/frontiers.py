"""`frontier.parquet`: for each regime and other categories, the smallest fraction that survives, for all sweeps."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from collapse_ray.artifact.store import Store
from collapse_ray.config.spec import Json
from collapse_ray.report.sweep_arms import Survival, SweepArm, sweep_arms
from collapse_ray.search.accounting import Amount, amounts_of
from collapse_ray.search.axes import axes_of
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.methods import frontier
from collapse_ray.search.outcome import SweepDocument, read_sweeps
from collapse_ray.search.spec import SweepSpec
from collapse_ray.search.trial import Trial, flat, value_label

FRONTIERS = "frontier.parquet"

REAL_FRACTION = "regime.real_fraction"

FIRST = ("sweep", "axis")
LAST: dict[str, Any] = {
    "estimate": pd.Float64Dtype(),
    "low": pd.Float64Dtype(),
    "high": pd.Float64Dtype(),
    "confidence": pd.Float64Dtype(),
    "censored": pd.StringDtype("python"),
    "precise": pd.BooleanDtype(),
    "fall_p_value": pd.Float64Dtype(),
    "num_lineages": pd.Int64Dtype(),
    "num_generations": pd.Int64Dtype(),
    "energy_j": pd.Float64Dtype(),
}
"""The columns after those of the categories, and their types."""

CENSORED = {"survived": "all_survive", "collapsed": "none_survives"}
"""What to call a frontier where all arms ended alike."""


def frontier_frame(store: Store, documents: Sequence[SweepDocument], results: pd.DataFrame) -> pd.DataFrame:
    """The frontiers of sweeps, one row for each combination of categories.

    Returns:
        `sweep`; `axis`, the path of the fraction; a column for each category, named by its path (null in sweeps
        without it); `estimate`, `low`, `high`: of a frontier search, posterior median and interval with its
        `confidence`; of a grid, the smallest fraction that survived, the largest one below it that collapsed, and
        the smallest that survived, without a confidence. A null `low` or `high` lies outside of the axis; `censored`
        says that all of it does: `all_survive`, `none_survives`. `precise`: whether the
        interval is as narrow as asked; `fall_p_value`: of the hypothesis that more of the fraction is no worse, without
        which the interval means nothing (both of a search only). `num_lineages`, `num_generations` and `energy_j`
        (joules of their artifacts, each once; null where none were measured) tell what the row rests on.
    """
    rows = [row for document in documents for row in _rows(store, document, sweep_arms(store, document, results))]
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in (*FIRST, *LAST)]
    frame = pd.DataFrame(rows, columns=[*FIRST, *names, *LAST])
    return frame.astype({name: _dtype(rows, name) for name in (*FIRST, *names)} | LAST)


def write_frontiers(store: Store, results: pd.DataFrame) -> pd.DataFrame:
    """Writes `frontier.parquet` of all sweeps into the store."""
    frame = frontier_frame(store, read_sweeps(store), results)
    store.write_document(FRONTIERS, frame.to_parquet(None, index=False))
    return frame


def _dtype(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    known = [value for row in rows if (value := row.get(name)) is not None]
    return pd.Float64Dtype() if known and all(map(_is_number, known)) else pd.StringDtype("python")


def _rows(store: Store, document: SweepDocument, arms: Sequence[SweepArm]) -> list[dict[str, Any]]:
    asked = document.asked
    if isinstance(asked.search, frontier.Spec):
        return [_searched(store, document, asked, asked.search, found, arms) for found in document.outcome.frontiers]
    axis = _fraction_axis(arms)
    if axis is None:
        return []
    groups: dict[str, list[SweepArm]] = {}
    for arm in arms:
        categories = {path: value for path, value in flat(arm.point).items() if path != axis}
        groups.setdefault(Trial(categories, 0).key, []).append(arm)
    return [_bracketed(store, document.id, axis, group) for group in groups.values()]


# Of a frontier search ------------------------------------------------------------------------------


def _searched(
    store: Store,
    document: SweepDocument,
    asked: SweepSpec,
    search: frontier.Spec,
    found: Frontier,
    arms: Sequence[SweepArm],
) -> dict[str, Any]:
    axes = axes_of(asked.axes, asked.base)
    categories = search.point(axes, dict(found.arm))
    others = [path for path, axis in axes.items() if axis.range is not None and path != search.axis]
    told = [arm for arm in arms if all(arm.point[path] == value for path, value in categories.items())]
    return {
        "sweep": document.id,
        "axis": search.axis,
        **_plain(flat(categories)),
        **dict(zip(others, found.at, strict=True)),
        "estimate": found.estimate,
        "low": found.lower,
        "high": found.upper,
        "confidence": search.confidence,
        "censored": found.censored,
        "precise": found.precise,
        "fall_p_value": found.fall_p_value,
        **_effort(store, told),
    }


# Of a grid -----------------------------------------------------------------------------------------


def _fraction_axis(arms: Sequence[SweepArm]) -> str | None:
    """The real fraction; else the only axis of numbers, if there is one."""
    points = [flat(arm.point) for arm in arms]
    if any(REAL_FRACTION in point for point in points):
        return REAL_FRACTION
    numeric = {path for point in points for path, value in point.items() if _is_number(value)}
    return numeric.pop() if len(numeric) == 1 else None


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bracketed(store: Store, sweep: str, axis: str, arms: Sequence[SweepArm]) -> dict[str, Any]:
    """The frontier between two neighbours of a grid, from arms that differ in the fraction alone."""
    points = [flat(arm.point) for arm in arms]
    collapsed = _places(points, arms, axis, "collapsed")
    healthy = _places(points, arms, axis, "survived")
    low = max(collapsed, default=None)
    above = [value for value in healthy if low is None or value > low]
    survivals = {arm.survival for arm in arms}
    return {
        "sweep": sweep,
        "axis": axis,
        **_plain({path: value for path, value in points[0].items() if path != axis}),
        "estimate": min(above, default=None),
        "low": low,
        "high": min(above, default=None),
        "censored": CENSORED.get(survivals.pop()) if len(survivals) == 1 else None,
        **_effort(store, arms),
    }


def _places(
    points: Sequence[Mapping[str, Json]], arms: Sequence[SweepArm], axis: str, survival: Survival
) -> list[float]:
    """The fractions of the arms that ended so; none for arms whose regime has no fraction."""
    values = [point.get(axis) for point, arm in zip(points, arms, strict=True) if arm.survival == survival]
    return [float(value) for value in values if isinstance(value, int | float)]


def _effort(store: Store, arms: Sequence[SweepArm]) -> dict[str, Any]:
    indices = [index for arm in arms for index in arm.indices]
    return {
        "num_lineages": sum(len(arm.lineages) for arm in arms),
        "num_generations": sum(arm.num_generations for arm in arms),
        "energy_j": Amount.total(amounts_of(store, indices)).energy_j,
    }


def _plain(categories: Mapping[str, Json]) -> dict[str, Any]:
    """Categories as values of a column."""
    return {path: value if _is_number(value) else value_label(value) for path, value in categories.items()}
