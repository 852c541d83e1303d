"""Accounts in joules in, the same accounts with grams, litres and money out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from collapse_ray.config.errors import InvalidInput
from collapse_ray.energy.accounts import QUALITIES
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.embodied import Hardware, embodied_g
from collapse_ray.ledger.views.equivalents import Equivalent, equivalents
from collapse_ray.ledger.views.overhead import facility_energy_j
from collapse_ray.ledger.views.rate import Rate
from collapse_ray.ledger.views.sci import functional_units, sci_g
from collapse_ray.ledger.views.spec import ViewsSpec
from collapse_ray.ledger.views.water import water_l

J_PER_KWH = 3.6e6

_NEEDED = ("energy_j", "quality", "begin_unix_s", "end_unix_s")
_NO_INTENSITY = {
    "carbon_g_location": "no location-based intensity given (carbon)",
    "carbon_g_market": (
        "no market-based intensity given (carbon_market): that of certificates, contracts, your supplier or the "
        "residual mix; where none of them exists, the GHG Protocol lets that of the grid stand in: repeat carbon there"
    ),
}


@dataclass(frozen=True)
class Viewed:
    """Accounts with the columns of their views."""

    table: pd.DataFrame
    """New columns are nullable floats, null where there is nothing to derive them from."""
    notes: list[str]
    """Where each factor is from, and what is estimated, unmeasured or left out."""
    equivalents: list[Equivalent]
    """Of the totals; empty unless asked for."""


@dataclass
class _Views:
    """Columns (N,), additive, in which NaN is absent; and a note for each factor."""

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, column: str, values: np.ndarray, note: object) -> None:
        self.columns[column] = values
        self.notes.append(f"{column}: {note}")


def view_accounts(
    accounts: pd.DataFrame, spec: ViewsSpec, by: Sequence[str] = (), units: pd.DataFrame | None = None
) -> Viewed:
    """Derive the views, row by row, and add them up.

    Factors that vary over time meet each row's energy by overlap, as if it was used evenly between its begin and end:
    give the ledger's entries as they are, and let `by` add them up afterwards.

    Args:
        accounts: `energy_j` (null where unmeasured), `quality`, `begin_unix_s`, `end_unix_s` and any group columns;
            for `embodied` also `duration_s` and `device`, and `device_name` where it is known. It is not changed.
        spec: which views.
        by: columns to add up by; none keeps the rows as they are.
        units: `num_samples` or `num_tokens` by `lineage`, `generation` or both, for `sci`.

    Returns:
        The rows or groups with `facility_energy_j`, `carbon_g_location`, `carbon_g_market`, `water_l`,
        `price_<currency>`, `embodied_g` and `sci_g_per_<unit>`, as far as asked for. A group's sum is over what was
        measured, its `quality` the worst of its rows.

    Raises:
        InvalidInput: columns lack, a series has a gap where energy was used, a token or a functional unit is missing.
        RunFailed: a live service does not answer.
    """
    _require(accounts, (*_NEEDED, *by, *(("duration_s", "device") if spec.embodied else ())))
    views = _derive(accounts, spec)
    table = accounts.assign(
        energy_j=pd.Series(accounts["energy_j"], dtype="Float64"),
        **{name: _nullable(values, accounts) for name, values in views.columns.items()},
    )
    groups = _add_up(table, by, tuple(views.columns)) if by else table
    if spec.sci is not None:
        made = functional_units(accounts, groups, spec.sci, units)
        score = sci_g(_numbers(groups, "carbon_g_location"), _numbers(groups, "embodied_g"), made)
        groups = groups.assign(**{spec.sci.column: _nullable(score, groups)})
        views.notes.append(f"{spec.sci.column}: (E x I + M) per {spec.sci.unit}, ISO/IEC 21031; I is location-based")
    pictured = _pictured(table, spec) if spec.equivalents else []
    return Viewed(groups, views.notes + _quality_notes(table), pictured)


def _derive(accounts: pd.DataFrame, spec: ViewsSpec) -> _Views:
    views = _Views()
    energy_j = _numbers(accounts, "energy_j")
    facility_j = facility_energy_j(energy_j, spec.pue)
    facility_kwh = facility_j / J_PER_KWH
    if spec.pue is None:
        views.notes.append("no PUE given: energy, and all that follows from it, is of the IT equipment only")
    else:
        views.add("facility_energy_j", facility_j, spec.pue.provenance())
    if spec.carbon is not None or spec.carbon_market is not None:
        for column, intensity in (("carbon_g_location", spec.carbon), ("carbon_g_market", spec.carbon_market)):
            views.add(column, *_carbon(accounts, facility_kwh, intensity, column))
    if spec.water is not None:
        views.add("water_l", water_l(energy_j / J_PER_KWH, facility_kwh, spec.water), spec.water.provenance())
    if spec.price is not None:
        rate = spec.price.rate()
        column = f"price_{spec.price.currency.lower()}"
        views.add(column, _over_time(accounts, facility_kwh, rate), rate.provenance)
    if spec.embodied:
        values, notes = _embodied(accounts, spec.embodied)
        views.columns["embodied_g"] = values
        views.notes += [f"embodied_g: {note}" for note in notes]
    return views


def _carbon(
    accounts: pd.DataFrame, kwh: np.ndarray, intensity: Intensity | None, column: str
) -> tuple[np.ndarray, str]:
    nothing = np.full(len(kwh), np.nan)
    if intensity is None:
        return nothing, f"null; {_NO_INTENSITY[column]}"
    measured = ~np.isnan(kwh)
    if not measured.any():
        return nothing, "null; nothing was measured"
    begin, end = _numbers(accounts, "begin_unix_s")[measured], _numbers(accounts, "end_unix_s")[measured]
    rate = intensity.rate(float(begin.min()), float(end.max()))
    return _over_time(accounts, kwh, rate), str(rate.provenance)


def _over_time(accounts: pd.DataFrame, kwh: np.ndarray, rate: Rate) -> np.ndarray:
    """Energy times the mean rate of its interval; intervals without energy need no rate."""
    measured = ~np.isnan(kwh)
    begin, end = _numbers(accounts, "begin_unix_s")[measured], _numbers(accounts, "end_unix_s")[measured]
    values = np.full(len(kwh), np.nan)
    values[measured] = kwh[measured] * rate.mean(begin, end)
    return values


def _embodied(accounts: pd.DataFrame, hardware: Sequence[Hardware]) -> tuple[np.ndarray, list[str]]:
    """Grams by the time that each row had its device, whether or not the energy of that time was measured."""
    names = [name for name in ("device", "device_name") if name in accounts]
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row, device in enumerate(accounts[names].itertuples(index=False)):
        rows_of.setdefault(tuple(name for name in device if isinstance(name, str)), []).append(row)
    reserved_s = _numbers(accounts, "duration_s")
    grams = np.full(len(accounts), np.nan)
    notes = [str(one.provenance()) for one in hardware]
    for device, rows in rows_of.items():
        covering = [one for one in hardware if one.covers(*device)]
        if len(covering) > 1:
            patterns = " and ".join(repr(one.device) for one in covering)
            todo = "give patterns that do not overlap"
            raise InvalidInput(f"embodied: {patterns} name the same device {device[0]}; {todo}")
        if covering:
            grams[rows] = embodied_g(reserved_s[rows], covering[0])
        else:
            notes.append(f"null for the device {' '.join(device)}, which no pattern names")
    return grams, notes


def _add_up(table: pd.DataFrame, by: Sequence[str], added: Sequence[str]) -> pd.DataFrame:
    ranked = table.assign(quality=[QUALITIES.index(quality) for quality in table["quality"]])
    groups: Any = ranked.groupby(list(by), dropna=False)
    sums = [name for name in ("energy_j", "duration_s", *added) if name in table]
    total = groups[sums].sum(min_count=1)
    worst = [QUALITIES[rank] for rank in groups["quality"].max()]
    ends = {"begin_unix_s": groups["begin_unix_s"].min(), "end_unix_s": groups["end_unix_s"].max()}
    return total.assign(quality=worst, **ends).reset_index()


def _pictured(table: pd.DataFrame, spec: ViewsSpec) -> list[Equivalent]:
    carbon_g = _total(_numbers(table, "carbon_g_location")) if spec.carbon is not None else None
    energy_j = _total(_numbers(table, "energy_j"))
    return equivalents(carbon_g, None if energy_j is None else facility_energy_j(energy_j, spec.pue) / J_PER_KWH)


def _quality_notes(table: pd.DataFrame) -> list[str]:
    notes = []
    energy_j = _numbers(table, "energy_j")
    total_j = _total(energy_j)
    estimated_j = _total(energy_j[np.array(table["quality"] == "estimated", dtype=bool)])
    if total_j and estimated_j:
        share = 100 * estimated_j / total_j
        notes.append(f"quality: {share:.3g} % of the joules are estimated, and so is all that follows from them")
    unmeasured = int(np.isnan(energy_j).sum())
    if unmeasured:
        notes.append(f"quality: {unmeasured} of {len(table)} rows are unmeasured; their views are null and in no sum")
    return notes


def _require(accounts: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in accounts]
    if missing:
        found = ", ".join(map(str, accounts.columns))
        raise InvalidInput(f"the accounts have no {', '.join(missing)}; columns: {found}")


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column (N,); null is NaN."""
    return pd.Series(table[name], dtype="Float64").to_numpy(dtype=float, na_value=np.nan)


def _nullable(values: np.ndarray, like: pd.DataFrame) -> pd.Series:
    """A column of a table; NaN is null."""
    return pd.Series(pd.array(values, dtype="Float64"), index=like.index)


def _total(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.sum()) if len(known) else None
