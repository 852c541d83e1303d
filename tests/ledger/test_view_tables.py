"""The shipped values: complete, redistributable, and equal to what their publishers say."""

import math
import re

import pytest

from collapse_ray.ledger.views.tables import cloud_regions, grids, units

LICENCES = {
    "CC BY 4.0",
    "Open Government Licence v3.0",
    "Open Government Licence - Canada",
    "public domain (work of the US government)",
}
CODE = re.compile(r"[A-Z]{3}|[A-Z]{2}-[A-Z]{2,3}|eGRID-[A-Z]{4}")


def test_every_value_says_where_it_is_from() -> None:
    for row in (*grids().values(), *units()):
        assert row.licence in LICENCES, row
        assert 2020 <= row.year <= 2026, row
        assert "https://" in row.source, row
        assert row.method, row


def test_codes_and_values_are_of_the_promised_form() -> None:
    assert len(grids()) > 200
    for grid in grids().values():
        assert CODE.fullmatch(grid.code), grid
        assert 0 < grid.g_per_kwh < 1500, grid


def test_every_cloud_region_hangs_on_a_grid() -> None:
    assert {cloud for cloud, _ in cloud_regions()} == {"aws", "azure", "gcp"}
    assert [region for region in cloud_regions().values() if region.grid not in grids()] == []


# Our World in Data, "Carbon intensity of electricity generation" (from Ember), 2024, as printed there.
OWID_2024 = {
    "AUS": 552,
    "AUT": 103,
    "BEL": 118,
    "CAN": 175,
    "CZE": 414,
    "DNK": 143,
    "EST": 341,
    "FIN": 72,
    "FRA": 44,
    "DEU": 344,
    "NLD": 253,
}


@pytest.mark.parametrize(("code", "g_per_kwh"), OWID_2024.items())
def test_countries_against_a_second_publisher(code: str, g_per_kwh: int) -> None:
    assert (round(grids()[code].g_per_kwh), grids()[code].year) == (g_per_kwh, 2024)


def test_egrid_against_its_own_gases() -> None:
    """CAMX in eGRID2023: 436.655 lb CO2, 0.025 lb CH4 and 0.003 lb N2O per MWh; AR5: 28 and 265."""
    lb_per_mwh = 436.655 + 28 * 0.025 + 265 * 0.003
    assert grids()["eGRID-CAMX"].g_per_kwh == pytest.approx(lb_per_mwh * 0.45359237, abs=1e-3)


def test_egrid_is_converted_from_the_pounds_it_cites() -> None:
    subregions = [grid for code, grid in grids().items() if code.startswith("eGRID-")]
    assert len(subregions) == 27
    for grid in subregions:
        cited = re.search(r"([\d.]+) lb/MWh", grid.method)
        assert cited is not None, grid
        assert grid.g_per_kwh == pytest.approx(float(cited[1]) * 0.45359237, abs=1e-3), grid


def test_equivalents_follow_from_what_they_cite() -> None:
    one_is = {unit.name: unit.one_is for unit in units()}
    assert one_is["car_km"] == pytest.approx(1000 * 0.16725)
    assert one_is["household_days"] == pytest.approx(10791 / 365, abs=1e-4)
    # Great circle between the airports' coordinates in OurAirports, on a sphere of 6371 km.
    latitudes, longitudes = (51.4706, 40.639447), (-0.461941, -73.779317)
    (here, there), turn = map(math.radians, latitudes), math.radians(longitudes[0] - longitudes[1])
    cosine = math.sin(here) * math.sin(there) + math.cos(here) * math.cos(there) * math.cos(turn)
    assert one_is["transatlantic_flight_seats"] == pytest.approx(1000 * 0.11704 * 6371 * math.acos(cosine), rel=1e-3)
