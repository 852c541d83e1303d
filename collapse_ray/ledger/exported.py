"""What an export receives: accounts of the ledger, with the facts about the run that no meter knows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import pandas as pd

from collapse_ray.energy.accounts import QUALITIES
from collapse_ray.energy.marks import AccountKind
from collapse_ray.energy.series import DeviceKind, Quality

UJ_PER_J = 1e6
J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class AccountRow:
    """One account on one device in one quality; absent is None.

    Raises:
        ValueError: joules and quality do not agree.
    """

    kind: AccountKind
    sweep: str | None
    lineage: str | None
    generation: int | None
    stage: str | None
    artifact: str | None
    node: str
    device: str
    device_name: str
    device_kind: DeviceKind
    quality: Quality
    rule: str | None
    energy_uj: int | None
    """None exactly where the quality is `unmeasured`."""
    duration_s: float
    """Device time; rows of one account do not repeat it."""
    begin_unix_s: float
    end_unix_s: float
    carbon_g: float | None = None
    """CO2 equivalent of the joules, with the PUE of the facts where they have one; None where no intensity is given."""
    water_l: float | None = None

    def __post_init__(self) -> None:
        if (self.quality == "unmeasured") != (self.energy_uj is None):
            raise ValueError(f"energy_uj is {self.energy_uj} and quality {self.quality!r}: unmeasured has no joules")


METHODS = {"location-based": "carbon_g_location", "market-based": "carbon_g_market"}
"""The methods of the GHG Protocol (scope 2), and the columns in which the views of the ledger have their grams."""

VIEWED = ("carbon_g", "water_l")
COLUMNS = tuple(field.name for field in fields(AccountRow) if field.name not in VIEWED)
"""Of a table of accounts; the columns of views may be added to them."""


@dataclass(frozen=True)
class Carbon:
    """Where the grams of the accounts come from."""

    method: Literal["location-based", "market-based"]
    source: str
    """Of the intensity, with its value, year and licence."""
    intensity_g_per_kwh: float | None = None
    """None where it varied over the run."""


@dataclass(frozen=True)
class Facts:
    """What is known of a run beside its joules; unknown is None."""

    run_id: str
    """Names the ledger that the accounts are from: the same at each export of it, and no other ledger's."""
    project: str
    country: str | None = None
    country_iso_code: str | None = None
    """Three letters (ISO 3166-1 alpha-3)."""
    region: str | None = None
    """Province, state or city."""
    latitude: float | None = None
    longitude: float | None = None
    cloud_provider: str | None = None
    cloud_region: str | None = None
    os: str | None = None
    python_version: str | None = None
    cpu_model: str | None = None
    num_cpus: int | None = None
    """Logical cores, over all nodes."""
    memory_gb: float | None = None
    """Over all nodes."""
    pue: float | None = None
    """Power usage effectiveness of the data centre."""
    wue_l_per_kwh: float | None = None
    """Water usage effectiveness of the data centre."""
    carbon: Carbon | None = None
    """Given where the accounts have grams."""


@dataclass(frozen=True)
class Exported:
    """Accounts of one ledger, with the facts about it.

    Raises:
        ValueError: grams or litres are known of a part of the joules only: their sum would pass for all.
    """

    rows: tuple[AccountRow, ...]
    facts: Facts

    def __post_init__(self) -> None:
        measured = [row for row in self.rows if row.energy_uj is not None]
        for name in VIEWED:
            if len({getattr(row, name) is None for row in measured}) > 1:
                raise ValueError(f"{name} is None for some of the joules; give it for all of them or for none")
        if measured and (self.facts.carbon is None) != (measured[0].carbon_g is None):
            raise ValueError("carbon_g and facts.carbon go together: give both or neither")

    @classmethod
    def of(cls, table: pd.DataFrame, facts: Facts) -> Self:
        """From a table with the columns `COLUMNS`, and those of the views: `water_l`, and grams by `facts.carbon`."""
        columns = {name: name for name in (*COLUMNS, *(["water_l"] if "water_l" in table else []))}
        if facts.carbon is not None:
            columns["carbon_g"] = METHODS[facts.carbon.method]
        values = table[[*columns.values()]].to_numpy(object)
        return cls(tuple(_account_row(dict(zip(columns, row, strict=True))) for row in values), facts)

    @property
    def work(self) -> "Total":
        """Stages and overhead: what the run is answerable for. `idle` and `foreign` joules are exported nowhere."""
        return Total(tuple(row for row in self.rows if row.kind in ("stage", "overhead")))


@dataclass(frozen=True)
class Total:
    """What can be said of some accounts together."""

    rows: tuple[AccountRow, ...]

    def of(self, device_kind: DeviceKind) -> "Total":
        """The part of one kind of device."""
        return Total(tuple(row for row in self.rows if row.device_kind == device_kind))

    def lineages(self) -> Iterator[tuple[str | None, str | None, "Total"]]:
        """Sweep, lineage and part of each lineage, None for work that belongs to none, in the order of their begin."""
        parts: dict[tuple[str | None, str | None], list[AccountRow]] = {}
        for row in self._by_begin():
            parts.setdefault((row.sweep, row.lineage), []).append(row)
        for (sweep, lineage), rows in parts.items():
            yield sweep, lineage, Total(tuple(rows))

    def stages(self) -> list[str]:
        """Names of the stages, in the order of their begin."""
        return list(dict.fromkeys(row.stage for row in self._by_begin() if row.kind == "stage" and row.stage))

    def devices(self) -> dict[tuple[DeviceKind, str], int]:
        """Number of devices by kind and name, in this order."""
        names: dict[str, tuple[DeviceKind, str]] = {row.device: (row.device_kind, row.device_name) for row in self.rows}
        return dict(sorted(Counter(names.values()).items()))

    def hardware(self) -> list[str]:
        """The devices as people list them, such as `8 x NVIDIA H100 80GB HBM3`."""
        return [f"{number} x {name}" for (_, name), number in self.devices().items()]

    @property
    def energy_uj(self) -> int | None:
        """What was measured or estimated; None where nothing was."""
        known = [row.energy_uj for row in self.rows if row.energy_uj is not None]
        return sum(known) if known else None

    def energy_kwh(self, pue: float | None = None) -> float | None:
        """At the devices, or at the meter of the data centre where its PUE is given."""
        return None if self.energy_uj is None else self.energy_uj / UJ_PER_J / J_PER_KWH * (1.0 if pue is None else pue)

    @property
    def carbon_g(self) -> float | None:
        """Of what was measured or estimated; None where nothing was, or no intensity is given."""
        known = [row.carbon_g for row in self.rows if row.carbon_g is not None]
        return sum(known) if known else None

    @property
    def water_l(self) -> float | None:
        """As `carbon_g`."""
        known = [row.water_l for row in self.rows if row.water_l is not None]
        return sum(known) if known else None

    @property
    def by_quality(self) -> dict[Quality, int]:
        """Microjoules of each quality that occurs, from the best to the worst, `unmeasured` left out."""
        sums: dict[Quality, int] = {}
        for row in sorted(self.rows, key=lambda row: QUALITIES.index(row.quality)):
            if row.energy_uj is not None:
                sums[row.quality] = sums.get(row.quality, 0) + row.energy_uj
        return sums

    @property
    def duration_s(self) -> float:
        """Wall-clock time in which any of the accounts was at work: the length of the union of their intervals."""
        total_s, until_s = 0.0, float("-inf")
        for row in self._by_begin():
            total_s += max(0.0, row.end_unix_s - max(row.begin_unix_s, until_s))
            until_s = max(until_s, row.end_unix_s)
        return total_s

    @property
    def is_complete(self) -> bool:
        """Whether every device that was at work was measured or estimated all the time."""
        return all(row.energy_uj is not None for row in self.rows)

    def qualities(self) -> str:
        """How the joules were obtained, such as `75 % counter, 25 % estimated`."""
        if not self.energy_uj:
            return ", ".join(self.by_quality) or "unmeasured"
        shares = {quality: 100 * energy_uj / self.energy_uj for quality, energy_uj in self.by_quality.items()}
        return ", ".join(f"{percent:.3g} % {quality}" for quality, percent in shares.items())

    def shortfall(self) -> str | None:
        """What is missing from the sums, for a reader; None where they are complete."""
        missing = [row for row in self.rows if row.energy_uj is None]
        if not missing:
            return None
        missing_s, whole_s = (sum(row.duration_s for row in rows) for rows in (missing, self.rows))
        kinds = ", ".join(sorted({row.device_kind for row in missing}))
        return f"lower bound: {missing_s:.6g} s of {whole_s:.6g} s of device time unmeasured ({kinds})"

    def _by_begin(self) -> list[AccountRow]:
        return sorted(self.rows, key=lambda row: row.begin_unix_s)


def _account_row(record: dict[str, Any]) -> AccountRow:
    values: dict[str, Any] = {name: None if pd.isna(value) else value for name, value in record.items()}
    for name in ("generation", "energy_uj"):  # a column of integers with nulls comes from pandas as floats
        values[name] = None if values[name] is None else int(values[name])
    return AccountRow(**values)
