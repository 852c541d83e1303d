"""Accounts with views, against numbers computed by hand, the SCI standard's own example, and conservation."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import validate
from collapse_ray.ledger.views.apply import Viewed, view_accounts
from collapse_ray.ledger.views.embodied import Hardware, embodied_g
from collapse_ray.ledger.views.sci import sci_g
from collapse_ray.ledger.views.spec import ViewsSpec

HOUR = 3600.0
START = 1_774_746_000.0
KWH = 3.6e6

CONSTANT = {"kind": "constant", "g_per_kwh": 400, "source": "grid"}
GREEN = {"kind": "constant", "g_per_kwh": 20, "source": "certificates"}
ALL = {
    "carbon": CONSTANT,
    "carbon_market": GREEN,
    "pue": {"factor": 1.5, "source": "operator"},
    "water": {"wue_l_per_kwh": 2, "grid_l_per_kwh": 3, "source": "operator"},
    "price": {"currency": "EUR", "per_kwh": 0.3, "source": "contract"},
    "embodied": [{"total_kg": 1000, "lifespan_years": 4, "source": "maker"}],
}


def spec(**mapping: Any) -> ViewsSpec:
    return validate(ViewsSpec, mapping, "views")


def accounts(*rows: tuple[str | None, int | None, str | None, float | None, str]) -> pd.DataFrame:
    """Rows of (lineage, generation, stage, kWh, quality), an hour each, one after the other, on one GPU."""
    begin = START + HOUR * np.arange(len(rows))
    columns = ["lineage", "generation", "stage", "kwh", "quality"]
    table = pd.DataFrame(rows, columns=columns).assign(begin_unix_s=begin, end_unix_s=begin + HOUR)
    energy_j = [None if pd.isna(kwh) else kwh * KWH for kwh in table.pop("kwh")]
    return table.assign(energy_j=energy_j, duration_s=HOUR, device="GPU-1", device_name="NVIDIA H200")


TRAIN = ("a", 1, "train", 2.0, "counter")
GENERATE = ("a", 1, "generate", 1.0, "estimated")
LOST = ("a", 2, "train", None, "unmeasured")
IDLE = (None, None, None, 0.5, "counter")


def values(viewed: Viewed, column: str) -> list[float | None]:
    series = pd.Series(viewed.table[column])
    assert series.dtype == "Float64"
    return [None if value is pd.NA else float(value) for value in series]


def known(viewed: Viewed, column: str) -> list[float]:
    return [value for value in values(viewed, column) if value is not None]


def test_every_view_by_hand() -> None:
    viewed = view_accounts(accounts(TRAIN, LOST), spec(**ALL))
    hour_g = 1000e3 / (4 * 365 * 24)
    expected = {
        "facility_energy_j": [3 * KWH, None],
        "carbon_g_location": [1200, None],
        "carbon_g_market": [60, None],
        "water_l": [2 * 2 + 3 * 3, None],
        "price_eur": [0.9, None],
        "embodied_g": [hour_g, hour_g],  # a device that nobody could read was reserved all the same
    }
    for column, numbers in expected.items():
        assert values(viewed, column) == pytest.approx(numbers), column
    assert "quality: 1 of 2 rows are unmeasured; their views are null and in no sum" in viewed.notes


def test_each_factor_has_a_note() -> None:
    assert view_accounts(accounts(TRAIN), spec(**ALL)).notes == [
        "facility_energy_j: PUE 1.5; source: operator",
        "carbon_g_location: 400 g CO2e/kWh; source: grid",
        "carbon_g_market: 20 g CO2e/kWh; source: certificates",
        "water_l: WUE 2 l per kWh of IT equipment and 3 l per kWh of the facility; source: operator",
        "price_eur: 0.3 EUR per kWh; source: contract",
        "embodied_g: 1000 kg CO2e over 4 years, share 1 for devices *; source: maker; method: M = TE x TS x RS",
    ]


def test_the_stored_energy_stays_what_it_is() -> None:
    given_accounts = accounts(TRAIN, LOST)
    before = given_accounts.copy(deep=True)
    viewed = view_accounts(given_accounts, spec(**ALL))
    pd.testing.assert_frame_equal(given_accounts, before)
    assert values(viewed, "energy_j") == [2 * KWH, None]


def test_without_a_pue_it_is_said_that_only_it_energy_counts() -> None:
    viewed = view_accounts(accounts(TRAIN), spec(carbon=CONSTANT))
    assert values(viewed, "carbon_g_location") == [800]
    assert "facility_energy_j" not in viewed.table
    assert viewed.notes[0].startswith("no PUE given")


@pytest.mark.parametrize(("given_one", "missing"), [("carbon", "market"), ("carbon_market", "location")])
def test_location_and_market_stand_side_by_side_and_what_is_missing_is_null(given_one: str, missing: str) -> None:
    viewed = view_accounts(accounts(TRAIN), spec(**{given_one: CONSTANT}))
    assert values(viewed, f"carbon_g_{missing}") == [None]
    (note,) = [note for note in viewed.notes if note.startswith(f"carbon_g_{missing}")]
    assert f"null; no {missing}-based intensity given" in note


def test_nothing_asked_for_adds_nothing() -> None:
    table = accounts(TRAIN)
    assert set(view_accounts(table, spec()).table) == set(table)


def test_nothing_measured_gives_nulls_and_asks_no_service() -> None:
    live = {"kind": "great_britain", "url": "http://127.0.0.1:9"}
    viewed = view_accounts(accounts(LOST), spec(carbon=live, equivalents=True))
    assert values(viewed, "carbon_g_location") == [None]
    assert "carbon_g_location: null; nothing was measured" in viewed.notes
    assert viewed.equivalents == []


def test_estimated_joules_stay_labelled() -> None:
    viewed = view_accounts(accounts(TRAIN, GENERATE), spec(carbon=CONSTANT), by=["lineage"])
    assert list(viewed.table["quality"]) == ["estimated"]
    assert viewed.notes[-1] == "quality: 33.3 % of the joules are estimated, and so is all that follows from them"


def test_groups_sum_what_was_measured_and_keep_the_worst_quality() -> None:
    viewed = view_accounts(accounts(TRAIN, GENERATE, LOST, IDLE), spec(carbon=CONSTANT), by=["lineage", "generation"])
    table = viewed.table.set_index(["lineage", "generation"])
    assert list(table["quality"]) == ["estimated", "unmeasured", "counter"]
    assert values(viewed, "carbon_g_location") == [1200, None, 200]
    assert list(table["end_unix_s"] - table["begin_unix_s"]) == [2 * HOUR, HOUR, HOUR]


def test_energy_meets_a_series_by_overlap(tmp_path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("time,g_per_kwh\n" + "".join(f"{START + HOUR * hour - 1800},{100 * hour}\n" for hour in range(3)))
    series = {"kind": "series", "path": str(path), "source": "operator"}
    viewed = view_accounts(accounts(TRAIN, GENERATE), spec(carbon=series))
    assert values(viewed, "carbon_g_location") == pytest.approx([2 * 50, 1 * 150])
    with pytest.raises(InvalidInput, match="has no value for 2026-03-29T03:30:00Z to 2026-03-29T04:00:00Z"):
        view_accounts(accounts(TRAIN, GENERATE, TRAIN), spec(carbon=series))
    assert values(view_accounts(accounts(TRAIN, GENERATE, LOST), spec(carbon=series)), "carbon_g_location")[2] is None


def test_a_price_may_fall_below_nothing(tmp_path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(f"time,per_kwh\n{START},-0.1\n{START + HOUR},0.4\n")
    series = {"path": str(path), "source": "exchange"}
    views = spec(price={"currency": "EUR", "series": series, "source": "exchange"})
    assert values(view_accounts(accounts(TRAIN, GENERATE), views), "price_eur") == pytest.approx([-0.2, 0.4])


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["train", "generate"]),
        st.none() | st.floats(0, 1e9),
        st.floats(0, 90_000),
        st.floats(0, 90_000),
    ),
    min_size=1,
    max_size=12,
)
CARBON = ["carbon_g_location", "carbon_g_market"]
ADDITIVE = ["energy_j", "facility_energy_j", *CARBON, "water_l", "price_eur", "embodied_g"]


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("grid") / "grid.csv"
    numbers = np.random.default_rng(1).uniform(0, 900, 50)
    pd.DataFrame({"time": START + HOUR * np.arange(50), "g_per_kwh": numbers}).to_csv(path, index=False)
    return str(path)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_the_view_of_a_sum_is_the_sum_of_the_views(hourly: str, rows: list) -> None:
    table = pd.DataFrame(rows, columns=["lineage", "stage", "energy_j", "begin_unix_s", "duration_s"])
    begin = START + table["begin_unix_s"]
    quality = ["unmeasured" if pd.isna(energy_j) else "counter" for energy_j in table["energy_j"]]
    table = table.assign(device="GPU-1", quality=quality, begin_unix_s=begin, end_unix_s=begin + table["duration_s"])
    views = spec(**{**ALL, "carbon": {"kind": "series", "path": hourly, "source": "operator"}})
    whole = view_accounts(table, views)
    for by in (["lineage"], ["stage"], ["lineage", "stage"], ["device"]):
        grouped = view_accounts(table, views, by)
        for column in ADDITIVE:
            assert sum(known(grouped, column)) == pytest.approx(sum(known(whole, column)), rel=1e-12), (by, column)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(energy_j=st.floats(1, 1e9), at=st.floats(0.01, 0.99), hours=st.floats(0.1, 40))
def test_a_cut_account_has_the_views_of_the_whole(hourly: str, energy_j: float, at: float, hours: float) -> None:
    ends = START + hours * HOUR * np.array([0.0, at, 1.0])
    cut_j = energy_j * np.array([at, 1 - at])
    whole = pd.DataFrame({"energy_j": [energy_j], "begin_unix_s": ends[:1], "end_unix_s": ends[2:]})
    parts = pd.DataFrame({"energy_j": cut_j, "begin_unix_s": ends[:2], "end_unix_s": ends[1:]})
    views = spec(carbon={"kind": "series", "path": hourly, "source": "operator"})
    grams = [sum(known(view_accounts(one.assign(quality="counter"), views), CARBON[0])) for one in (whole, parts)]
    assert grams[0] == pytest.approx(grams[1], rel=1e-6)


# Embodied emissions and SCI -----------------------------------------------------------------------


def test_the_standards_example_of_a_time_share() -> None:
    """ISO/IEC 21031: 1000 kg over 4 years, reserved for an hour: 1000 * 1/(4*365*24) kg, "around 28 g"."""
    hardware = Hardware(total_kg=1000, lifespan_years=4, source="the standard")
    assert embodied_g(HOUR, hardware) == pytest.approx(1e6 / 35040)
    assert round(embodied_g(HOUR, hardware), 1) == 28.5
    half = Hardware(total_kg=1000, lifespan_years=4, share=0.5, source="the standard")
    assert embodied_g(HOUR, half) == pytest.approx(embodied_g(HOUR, hardware) / 2)


def test_the_standards_formula() -> None:
    """SCI = ((E * I) + M) per R with E = 3 kWh, I = 400 g/kWh, M = 100 g, R = 10."""
    assert sci_g(3 * 400.0, 100.0, 10.0) == 130


def test_hardware_is_found_by_uuid_or_name() -> None:
    table = accounts(TRAIN, GENERATE, IDLE).assign(
        device=["GPU-1", "cpu-0", "GPU-2"], device_name=["NVIDIA H200", None, "NVIDIA A100"]
    )

    def embodied(*devices: str) -> ViewsSpec:
        weights = ({"device": device, "total_kg": 1.0 + index} for index, device in enumerate(devices))
        return spec(embodied=[{**weight, "lifespan_years": 1, "source": "maker"} for weight in weights])

    viewed = view_accounts(table, embodied("*H200", "GPU-2"))
    year = HOUR / (365 * 24 * 3600)
    assert values(viewed, "embodied_g") == pytest.approx([1000 * year, None, 2000 * year])
    assert "embodied_g: null for the device cpu-0, which no pattern names" in viewed.notes
    with pytest.raises(InvalidInput, match=r"'GPU-\*' and '\*A100' name the same device GPU-2"):
        view_accounts(table, embodied("GPU-*", "*A100"))


SCI = {"carbon": CONSTANT, "carbon_market": GREEN, "pue": ALL["pue"], "embodied": ALL["embodied"]}
HOUR_G = 1e6 / 35040


def test_sci_per_generation_is_location_based() -> None:
    """Lineage a: 3 kWh, PUE 1.5, 400 g/kWh, two hours of hardware, one generation."""
    viewed = view_accounts(accounts(TRAIN, GENERATE, IDLE), spec(**SCI, sci={"unit": "generation"}), by=["lineage"])
    assert values(viewed, "sci_g_per_generation") == pytest.approx([3 * 1.5 * 400 + 2 * HOUR_G, None])


def test_sci_of_components_adds_up() -> None:
    rows = accounts(TRAIN, ("a", 2, "train", 1.0, "counter"), GENERATE)
    views = spec(**SCI, sci={"unit": "generation"})
    (whole,) = values(view_accounts(rows, views, by=["lineage"]), "sci_g_per_generation")
    stages = values(view_accounts(rows, views, by=["lineage", "stage"]), "sci_g_per_generation")
    assert whole == pytest.approx((4 * 1.5 * 400 + 3 * HOUR_G) / 2)
    assert sum(stage for stage in stages if stage is not None) == pytest.approx(whole)


def test_sci_per_sample_takes_counts_by_generation() -> None:
    rows = accounts(TRAIN, ("a", 2, "train", 1.0, "counter"), ("b", 1, "train", 5.0, "counter"))
    units = pd.DataFrame({"lineage": ["a", "a", "b"], "generation": [1, 2, 1], "num_samples": [100, 300, 50]})
    views = spec(**SCI, sci={"unit": "sample"})
    by_lineage = values(view_accounts(rows, views, ["lineage"], units), "sci_g_per_sample")
    assert by_lineage == pytest.approx([(3 * 600 + 2 * HOUR_G) / 400, (5 * 600 + HOUR_G) / 50])
    by_generation = values(view_accounts(rows, views, ["lineage", "generation"], units), "sci_g_per_sample")
    assert by_generation == pytest.approx([(1200 + HOUR_G) / 100, (600 + HOUR_G) / 300, (3000 + HOUR_G) / 50])
    in_all = values(view_accounts(rows, views, ["device"], units), "sci_g_per_sample")
    assert in_all == pytest.approx([(8 * 600 + 3 * HOUR_G) / 450])


def test_sci_per_token_needs_to_be_told_how_many() -> None:
    with pytest.raises(InvalidInput, match=r"nobody said how many tokens these accounts are for; give sci.count="):
        view_accounts(accounts(TRAIN), spec(**SCI, sci={"unit": "token"}))
    told = view_accounts(accounts(TRAIN), spec(**SCI, sci={"unit": "token", "count": 1e6}))
    assert values(told, "sci_g_per_token") == pytest.approx([(1200 + HOUR_G) / 1e6])


def test_missing_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="the accounts have no begin_unix_s, sweep; columns: lineage"):
        view_accounts(accounts(TRAIN).drop(columns="begin_unix_s"), spec(), by=["sweep"])
    with pytest.raises(InvalidInput, match="the accounts have no duration_s"):
        view_accounts(accounts(TRAIN).drop(columns="duration_s"), spec(embodied=ALL["embodied"]))


def test_totals_that_people_can_picture() -> None:
    """2 kWh and PUE 1.5 at 400 g/kWh: 1.2 kg, as 7.17 km by car, and 3 kWh, as 0.101 days of a home."""
    viewed = view_accounts(accounts(TRAIN, LOST), spec(carbon=CONSTANT, pue=ALL["pue"], equivalents=True))
    amounts = {one.unit.name: one.amount for one in viewed.equivalents}
    assert amounts == pytest.approx(
        {"car_km": 1200 / 167.25, "transatlantic_flight_seats": 1.2 / 648.4016, "household_days": 3 / (10791 / 365)},
        rel=1e-5,
    )
    assert str(viewed.equivalents[0]).startswith("as much CO2e as 7.17 km driven in an average car in the UK (source:")


def test_without_carbon_only_energy_is_pictured() -> None:
    viewed = view_accounts(accounts(TRAIN), spec(equivalents=True))
    assert [one.unit.name for one in viewed.equivalents] == ["household_days"]
