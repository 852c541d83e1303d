"""The values that ship with the package; each row has its source, year, licence and method."""

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from collapse_ray.ledger.views.provenance import Provenance

_MIN_SIMILARITY = 0.6


@dataclass(frozen=True)
class Grid:
    """Average intensity of a grid over a year.

    `code` is ISO 3166-1 alpha-3 for a country (XKX for Kosovo), ISO 3166-2 for a province or state, and `eGRID-` with
    the acronym for a subregion of the USA.
    """

    code: str
    name: str
    g_per_kwh: float
    year: int
    source: str
    licence: str
    method: str

    def provenance(self, of: str | None = None) -> Provenance:
        """Of this grid's value, as used for something that hangs on it."""
        here = f"{self.name} ({self.code})"
        of = f"{of}, by the grid of {here}" if of else here
        return Provenance(f"{self.g_per_kwh:g} g CO2e/kWh", self.source, of, self.year, self.licence, self.method)


@dataclass(frozen=True)
class CloudRegion:
    """A region of a cloud, and the code of the grid that it hangs on."""

    cloud: str
    region: str
    place: str
    grid: str


@dataclass(frozen=True)
class Unit:
    """Something that people can picture."""

    name: str
    meaning: str
    of: str
    """What it is a quantity of: `carbon_g` or `facility_energy_kwh`."""
    one_is: float
    """How much of that one of it is."""
    source: str
    year: int
    licence: str
    method: str


@cache
def grids() -> Mapping[str, Grid]:
    """All grids by code."""
    rows = (
        Grid(**{**row, "g_per_kwh": float(row["g_per_kwh"]), "year": int(row["year"])}) for row in _rows("grids.csv")
    )
    return {grid.code: grid for grid in rows}


@cache
def cloud_regions() -> Mapping[tuple[str, str], CloudRegion]:
    """All regions by cloud and name."""
    rows = (CloudRegion(**row) for row in _rows("cloud_regions.csv"))
    return {(region.cloud, region.region): region for region in rows}


@cache
def units() -> tuple[Unit, ...]:
    """All units, in the order in which they are shown."""
    rows = _rows("equivalents.csv")
    return tuple(Unit(**{**row, "one_is": float(row["one_is"]), "year": int(row["year"])}) for row in rows)


def nearest_grid(given: str, codes: Mapping[str, Grid]) -> str:
    """A clause that names the grid whose code or name is nearest to what was given, where there is one."""
    named = {text.casefold(): grid for grid in codes.values() for text in (grid.name, grid.code)}
    found = difflib.get_close_matches(given.casefold(), named, n=1, cutoff=_MIN_SIMILARITY)
    return f"did you mean {named[found[0]].code!r} ({named[found[0]].name})? " if found else ""


def _rows(name: str) -> list[dict]:
    text = files("collapse_ray.ledger.views").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
