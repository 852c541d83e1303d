"""The tables and files that `collapse ledger` makes of a store's ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.load import overridden, validate
from collapse_ray.config.spec import Spec
from collapse_ray.ledger.ancestry import embodied_energy
from collapse_ray.ledger.check import Finding, check
from collapse_ray.ledger.export import Export
from collapse_ray.ledger.exported import Carbon, Exported, Facts
from collapse_ray.ledger.query import GROUPS, Ledger, read_ledger
from collapse_ray.ledger.views.apply import Viewed, view_accounts
from collapse_ray.ledger.views.spec import ViewsSpec
from collapse_ray.lineage.index import id_of
from collapse_ray.report.results import indices
from collapse_ray.report.stopped import saved_note
from collapse_ray.train.shared_actors import store_key

OPTIONAL = ("counter_j", "integrated_j", "estimated_j", "unmeasured_s")
"""Columns that are left out where they say nothing."""


class Asked(ViewsSpec):
    """KEY=VALUE arguments: views, what only the user knows of the run, and fields of the exports."""

    facts: dict[str, Any] = Field(default_factory=dict)
    """Of the run, for exports: project, country, cloud_region, cpu_model, …"""
    exports: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Fields by export: exports.huggingface.training_type=pre-training."""


class _One(Spec):
    export: Export


@dataclass(frozen=True)
class Table:
    """A table, and what must be said with it."""

    table: pd.DataFrame
    notes: list[str]


def viewed_table(store: Store, settings: Sequence[str], by: Sequence[str]) -> Table:
    """Joules summed up, with the views that were asked for.

    Raises:
        InvalidInput: an unknown column or view; or the store has no ledger.
    """
    asked = _asked(settings)
    ledger = _ledger(store)
    table = ledger.by(by)
    notes = [*_quality_notes(ledger), *filter(None, [saved_note(store)])]
    if _views(asked).model_dump(exclude_defaults=True):
        viewed = _view(ledger, asked, by)
        table = table.merge(_columns(viewed.table, by), how="left", on=list(by)) if by else table.join(viewed.table)
        notes += [*viewed.notes, *(str(one) for one in viewed.equivalents)]
    return Table(table.drop(columns=[name for name in OPTIONAL if not table[name].fillna(0).to_numpy().any()]), notes)


def embodied_table(store: Store) -> Table:
    """One row for each generator of each lineage: its own joules, and those of all its ancestors.

    Raises:
        InvalidInput: the store holds no lineages.
    """
    rows = []
    for index in indices(store):
        for generation in index["generations"]:
            cost = embodied_energy(store, "model", generation["model"])
            rows.append(
                {
                    "lineage": id_of(index),
                    "generation": generation["generation"],
                    "energy_j": cost.own_j,
                    "embodied_j": cost.embodied_j,
                    "quality": cost.quality,
                    "artifacts": cost.num_artifacts,
                    "unmeasured_artifacts": cost.num_unmeasured,
                }
            )
    notes = ["embodied_j adds up every artifact that a generator descends from, once; lineages may share artifacts."]
    if any(row["unmeasured_artifacts"] for row in rows):
        notes.append("Where unmeasured_artifacts is not 0, embodied_j is a lower bound.")
    return Table(pd.DataFrame(rows), notes)


def is_metered(store: Store) -> bool:
    """Whether the store has a ledger with anything in it."""
    return read_ledger(store).entries.num_rows > 0


def findings(store: Store) -> list[Finding]:
    """What is wrong with a ledger.

    Raises:
        InvalidInput: the store has none.
    """
    found = check(store)
    if not found:
        _ledger(store)
    return found


def exported_files(store: Store, settings: Sequence[str], exports: Sequence[str], *, force: bool) -> list[Path]:
    """Writes each `KIND=FILE`.

    Raises:
        InvalidInput: not of this form, an unknown kind or field, or a file that may not be written.
    """
    if not exports:
        return []
    asked = _asked(settings)
    targets = [_export(asked, pair) for pair in exports]
    exported = _exported(store, asked)
    return [export.write(exported, path, force=force) for export, path in targets]


def _asked(settings: Sequence[str]) -> Asked:
    return validate(Asked, overridden({}, settings), "collapse ledger")


def _views(asked: Asked) -> ViewsSpec:
    return ViewsSpec(**{name: getattr(asked, name) for name in ViewsSpec.model_fields})


def _ledger(store: Store) -> Ledger:
    ledger = read_ledger(store)
    if not ledger.entries.num_rows:
        raise InvalidInput(
            f"the store {store} has no ledger: nothing was metered (run.meter.enabled=false, or it is another store)"
        )
    return ledger


def _view(ledger: Ledger, asked: Asked, by: Sequence[str]) -> Viewed:
    return view_accounts(ledger.frame(), _views(asked), by)


def _columns(viewed: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The groups and what the views added; joules and qualities are the ledger's own."""
    added = [name for name in viewed.columns if name not in {*GROUPS, "energy_j", "energy_uj", "duration_s"}]
    return viewed.loc[:, [*by, *(name for name in added if not name.endswith("_unix_s"))]]


def _export(asked: Asked, pair: str) -> tuple[Export, Path]:
    kind, _, path = pair.partition("=")
    if not path:
        raise InvalidInput(f"--export {pair}: needs the form KIND=FILE, such as codecarbon=emissions.csv")
    spec = {"kind": kind, **asked.exports.get(kind, {})}
    return validate(_One, {"export": spec}, f"--export {kind}").export, Path(path)


def _exported(store: Store, asked: Asked) -> Exported:
    known = [field.name for field in fields(Facts) if field.name != "carbon"]
    for name in asked.facts:
        if name not in known:
            raise InvalidInput(f"facts.{name} is not a fact of a run; {did_you_mean(name, known)}")
    ledger = _ledger(store)
    viewed = _view(ledger, asked, ())
    market = asked.carbon_market is not None
    grams = f"carbon_g_{'market' if market else 'location'}"
    source = next((note for note in viewed.notes if note.startswith(f"{grams}:")), "")
    carbon = Carbon("market-based" if market else "location-based", source) if asked.carbon or market else None
    given = {"run_id": store_key(store), "project": str(store), **asked.facts}
    pue = None if asked.pue is None else asked.pue.factor
    return Exported.of(viewed.table, Facts(**{"pue": pue, **given}, carbon=carbon))  # type: ignore[arg-type]  # by name


def _quality_notes(ledger: Ledger) -> list[str]:
    """What a reader must know before believing the joules."""
    total: dict[str, Any] = ledger.by([]).to_dict("records")[0]
    notes = []
    if not pd.isna(total["estimated_j"]):
        notes.append(
            f"estimated: {total['estimated_j']:.0f} J are CPU utilisation times thermal design power, because no CPU "
            "sensor (RAPL) could be read; take them for an order of magnitude. run.meter.tdp_w sets the power."
        )
    if total["unmeasured_s"]:
        notes.append(f"unmeasured: {total['unmeasured_s']:.1f} s of device time are in no joule.")
    if ledger.gaps.num_rows:
        reasons = ledger.gaps.to_pandas()["reason"].value_counts()
        notes.append("gaps: " + ", ".join(f"{count} x {reason}" for reason, count in reasons.items()))
    return notes
