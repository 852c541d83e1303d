"""Does the journal add up: for each meter and device the entries sum to what the meter settled, to the microjoule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.journal import counted, read_segments
from collapse_ray.ledger.ranges import counting
from collapse_ray.ledger.segment import FOLDER, Segment
from collapse_ray.ledger.tables import latest, rows_of_kind

_COLUMNS = ("meter", "last", "first", "closed", "device", "energy_uj", "settled_uj")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a journal."""

    problem: Literal["torn", "missing", "unbalanced"]
    """A segment that cannot be read; batches that no segment holds; entries that do not sum to what was settled."""
    subject: str
    """Path of a segment, name of a meter, or `meter/device`."""
    message: str
    """What was found, and what it means."""


def check(store: Store) -> list[Finding]:
    """All that is wrong with the journal of a store; empty where every joule is accounted for, once.

    Raises:
        StoreError: the store cannot be read.
    """
    segments, torn = read_segments(store, ("range", "total", "entry"), _COLUMNS)
    findings = [Finding("torn", f"{FOLDER}/{one.name}", str(one)) for one in torn]
    return [*findings, *check_segments(segments)]


def check_segments(segments: Sequence[Segment]) -> list[Finding]:
    """All that is wrong with segments of one moment, each of which can be read."""
    ranges = rows_of_kind("range", segments)
    counts = counting(ranges)
    segments = counted(segments, counts)
    balance = _unbalanced(rows_of_kind("total", segments), rows_of_kind("entry", segments))
    return [*_missing(ranges.filter(pa.array(counts))), *balance]


def _missing(ranges: pa.Table) -> Iterator[Finding]:
    """Numbers of batches before the last of a meter that no range holds."""
    frame = ranges.select(["meter", "first", "last"]).to_pandas().astype({"meter": str})
    frame = frame.sort_values(["meter", "first"])
    frame["before"] = frame.groupby("meter")["last"].shift(fill_value=0)
    for meter, first, before in frame.loc[frame["first"] > frame["before"] + 1, ["meter", "first", "before"]].values:
        yield Finding(
            "missing",
            meter,
            f"batches {before + 1} to {first - 1} of the meter {meter} are in no segment of {FOLDER}/: their "
            "joules are lost, unless a segment that was moved away can be put back",
        )


def _unbalanced(totals: pa.Table, entries: pa.Table) -> Iterator[Finding]:
    """Devices whose entries do not sum to what their meter settled."""
    keys = ["meter", "device"]
    by_device = entries.group_by(keys).aggregate([("energy_uj", "sum")]).to_pylist()
    sums = {(row["meter"], row["device"]): row["energy_uj_sum"] or 0 for row in by_device}
    newest = latest(totals, keys, "last").select([*keys, "settled_uj"]).to_pylist()
    settled = {(row["meter"], row["device"]): row["settled_uj"] for row in newest}
    for meter, device in sorted(sums.keys() | settled.keys()):
        energy_uj, settled_uj = sums.get((meter, device), 0), settled.get((meter, device), 0)
        if energy_uj != settled_uj:
            yield Finding(
                "unbalanced",
                f"{meter}/{device}",
                f"the entries of the device {device} sum to {energy_uj} uJ, and its meter {meter} settled {settled_uj} "
                f"uJ: {abs(energy_uj - settled_uj)} uJ are {'missing' if energy_uj < settled_uj else 'too many'}",
            )
