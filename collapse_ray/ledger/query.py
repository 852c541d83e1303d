"""The ledger as tables, read from the store alone: no actor need live, and none is asked.

Joules that were measured (by a counter, or power integrated) and joules that were estimated are never added up: each
has a column, and `energy_j` is the measured ones, or the estimated ones where nothing was measured. What was not
measured at all is null, never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.energy.accounts import QUALITIES
from collapse_ray.energy.accumulate import UJ_PER_J
from collapse_ray.energy.series import Quality
from collapse_ray.energy.window import MEASURED
from collapse_ray.ledger.journal import counted, read_segments
from collapse_ray.ledger.segment import plain
from collapse_ray.ledger.tables import STRIDE, codes, latest, names_in, rows_of_kind

COLUMNS = (
    *("kind", "sweep", "lineage", "generation", "stage", "substage", "artifact"),
    *("node", "device", "device_name", "device_kind", "quality", "rule"),
    *("energy_uj", "duration_s", "begin_unix_s", "end_unix_s"),
)
"""Of the entries, in their order: a stable surface."""

GROUPS = COLUMNS[: COLUMNS.index("energy_uj")]
"""What entries may be summed up by."""

_DECIMAL = pa.decimal128(38, 0)
"""Sums over a cluster do not fit into 64 bits: 10 MW for eleven days is 2^63 microjoules."""


Group = tuple[str | int | None, ...]

Sums = dict[Quality, tuple[int | None, float]]
"""Microjoules and seconds by quality."""


@dataclass(frozen=True)
class Ledger:
    """All that counts in the journal of a store."""

    entries: pa.Table
    """Of `COLUMNS`; strings are dictionary-encoded. `energy_uj` is null where `quality` is `unmeasured`."""
    gaps: pa.Table
    """Of `segment.COLUMNS["gap"]`."""
    totals: pa.Table
    """Of `segment.COLUMNS["total"]`: the newest of each meter and device."""

    def by(self, columns: Sequence[str]) -> pd.DataFrame:
        """Entries summed up.

        Args:
            columns: of `GROUPS`; none of them sums up all there is.

        Returns:
            One row for each combination that occurs, in their order, nulls last. After the given columns:
            `energy_j`: measured joules; where none were measured, the estimated ones; where there are none, null.
            `quality`: the worst in the group, of joules in other columns and of time, too.
            `counter_j`, `integrated_j`, `estimated_j`: joules by quality; null where there are none.
            `measured_s`, `unmeasured_s`: device time with and without joules.

        Raises:
            InvalidInput: a column that is none of `GROUPS`.
        """
        keys = list(dict.fromkeys(columns))
        rows = [{**dict(zip(keys, group, strict=True)), **_summary(sums)} for group, sums in self.sums(keys).items()]
        dtypes = _NULLABLE | {key: pd.Int64Dtype() if key == "generation" else _TEXT for key in keys}
        table = pd.DataFrame(rows, columns=[*keys, *_SUMMARY]).astype(dtypes)
        return table.sort_values(keys, ignore_index=True) if keys else table

    def sums(self, columns: Sequence[str]) -> dict[Group, Sums]:
        """The same as `by` in whole microjoules: for each combination of the columns, energy and time by quality.

        Raises:
            InvalidInput: a column that is none of `GROUPS`.
        """
        for column in columns:
            if column not in GROUPS:
                raise InvalidInput(f"the ledger cannot be summed up by {column!r}; {did_you_mean(column, GROUPS)}")
        keys = list(dict.fromkeys([*columns, "quality"]))
        wide = self.entries.select([*keys, "duration_s"]).append_column("uj", self.entries["energy_uj"].cast(_DECIMAL))
        groups: dict[Group, Sums] = {}
        for row in wide.group_by(keys).aggregate([("uj", "sum"), ("duration_s", "sum")]).to_pylist():
            energy_uj = None if row["uj_sum"] is None else int(row["uj_sum"])
            group = groups.setdefault(tuple(row[column] for column in columns), {})
            group[row["quality"]] = (energy_uj, row["duration_s_sum"])
        return groups

    def energy_of_artifacts(self) -> dict[str, tuple[int | None, Quality]]:
        """What it took to make each artifact, by fingerprint: microjoules and quality, as `energy_j` of `by`."""
        made = self.sums(["artifact"])
        return {str(of): (energy_uj(sums), worst(sums)) for (of,), sums in made.items() if of is not None}

    def frame(self) -> pd.DataFrame:
        """The entries with nullable dtypes, and `energy_j`."""
        frame = self.entries.cast(plain(self.entries.schema)).to_pandas(types_mapper=_PANDAS.get)
        return frame.assign(energy_j=frame["energy_uj"].astype("Float64") / UJ_PER_J)


_TEXT = pd.StringDtype("python")
_PANDAS = {pa.string(): _TEXT, pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}
_SUMMARY = ("energy_j", "quality", "counter_j", "integrated_j", "estimated_j", "measured_s", "unmeasured_s")
_NULLABLE = {name: _TEXT if name == "quality" else pd.Float64Dtype() for name in _SUMMARY}


def _summary(sums: Sums) -> dict[str, Any]:
    by_quality = {f"{quality}_j": _joules(energy_uj) for quality, (energy_uj, _) in sums.items()}
    return {
        "energy_j": _joules(energy_uj(sums)),
        "quality": worst(sums),
        **{name: by_quality.get(name) for name in ("counter_j", "integrated_j", "estimated_j")},
        "measured_s": sum(seconds for quality, (_, seconds) in sums.items() if quality != "unmeasured"),
        "unmeasured_s": sums.get("unmeasured", (None, 0.0))[1],
    }


def energy_uj(sums: Sums) -> int | None:
    """Measured microjoules; where none were measured, the estimated ones; None where there are neither."""
    for qualities in (MEASURED, ("estimated",)):
        found = [sums[quality][0] or 0 for quality in qualities if quality in sums]
        if found:
            return sum(found)
    return None


def worst(sums: Sums) -> Quality:
    """The worst quality of any joule or second."""
    return max(sums, key=QUALITIES.index)


def _joules(energy_uj: int | None) -> float | None:
    return None if energy_uj is None else energy_uj / UJ_PER_J


def read_ledger(store: Store) -> Ledger:
    """The ledger of a store; empty where nothing was ever metered.

    Raises:
        TornSegment: a segment cannot be read; the message names it.
        StoreError: the store cannot be read.
    """
    segments, torn = read_segments(store, ("range", "total", "gap", "entry"))
    if torn:
        raise torn[0]
    segments = counted(segments)
    totals = latest(rows_of_kind("total", segments), ["meter", "device"], "last")
    entries = _named(rows_of_kind("entry", segments), totals)
    return Ledger(entries.select(COLUMNS), rows_of_kind("gap", segments), totals)


def _named(entries: pa.Table, totals: pa.Table) -> pa.Table:
    """Entries with the name and kind of their devices, which meters tell with the totals."""
    devices = latest(totals, ["node", "device"], "taken_unix_s")
    names = {key: names_in(devices[key]) for key in ("node", "device")}

    def places(table: pa.Table) -> pd.Index:
        return pd.Index(codes(table["node"], names["node"]) * STRIDE + codes(table["device"], names["device"]))

    found = places(devices).get_indexer(places(entries))
    rows = pa.array(found, mask=found < 0)
    for name in ("device_name", "device_kind"):
        entries = entries.append_column(name, devices[name].take(rows))
    return entries
