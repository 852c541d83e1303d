"""Rates that vary over time, against integrals done by hand and by brute force."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Steps
from collapse_ray.ledger.views.series_file import SeriesFile

HOUR = 3600.0
START = 1_774_746_000.0  # 2026-03-29T01:00:00Z, when clocks in Europe change
PROVENANCE = Provenance("a test", "me")


def steps(values: list[float], step_s: float | None = HOUR, begin: float = START) -> Steps:
    times = begin + HOUR * np.arange(len(values))
    return Steps.from_times(times, np.array(values), step_s, "series 'x'", PROVENANCE)


def mean(series: Steps, begin: float, end: float) -> float:
    return float(series.mean(np.array([START + begin]), np.array([START + end]))[0])


def test_an_interval_meets_each_value_for_as_long_as_they_overlap() -> None:
    series = steps([100.0, 400.0, 250.0])
    assert mean(series, 0, HOUR) == pytest.approx(100)
    assert mean(series, HOUR / 2, 1.25 * HOUR) == pytest.approx((0.5 * 100 + 0.25 * 400) / 0.75)
    assert mean(series, 0, 3 * HOUR) == pytest.approx(250)
    assert mean(series, 0.9 * HOUR, 2.1 * HOUR) == pytest.approx((0.1 * 100 + 400 + 0.1 * 250) / 1.2)


def test_an_interval_without_length_takes_the_value_that_holds() -> None:
    series = steps([100.0, 400.0])
    assert mean(series, 0, 0) == 100
    assert mean(series, HOUR, HOUR) == 400
    assert mean(series, 2 * HOUR, 2 * HOUR) == 400
    with pytest.raises(InvalidInput, match="has no value"):
        mean(series, 2 * HOUR + 1, 2 * HOUR + 1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-50, 900), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_means_equal_a_sum_over_milliseconds(values: list[float], one: float, other: float) -> None:
    length = len(values) * HOUR
    begin, end = sorted((one * length, other * length))
    middles = begin + (end - begin) * (np.arange(20_000) + 0.5) / 20_000
    brute = np.mean(np.array(values)[np.minimum(middles // HOUR, len(values) - 1).astype(int)])
    assert mean(steps(values), begin, end) == pytest.approx(brute, abs=0.2)


@pytest.mark.parametrize(
    ("begin", "end", "missing"),
    [
        (-60, HOUR, "2026-03-29T00:59:00Z to 2026-03-29T01:00:00Z"),
        (HOUR / 2, 2 * HOUR, "2026-03-29T02:00:00Z to 2026-03-29T03:00:00Z"),
        (2.5 * HOUR, 4 * HOUR, "2026-03-29T04:00:00Z to 2026-03-29T05:00:00Z"),
        (9 * HOUR, 10 * HOUR, "2026-03-29T10:00:00Z to 2026-03-29T11:00:00Z"),
    ],
)
def test_a_gap_is_refused_and_named(begin: float, end: float, missing: str) -> None:
    series = steps([100.0, np.nan, 250.0])
    with pytest.raises(InvalidInput, match=f"series 'x' has no value for {missing}, but energy was used"):
        mean(series, begin, end)


def test_a_value_holds_for_the_step_at_most() -> None:
    times = START + np.array([0.0, 900.0, 1800.0, 5400.0])  # quarters of an hour, then hours
    values = np.array([1.0, 2.0, 3.0, 4.0])
    short = Steps.from_times(times, values, None, "x", PROVENANCE)
    with pytest.raises(InvalidInput, match="or give step_s"):
        mean(short, 0, HOUR)
    long = Steps.from_times(times, values, HOUR, "x", PROVENANCE)
    assert mean(long, 0, 9000) == pytest.approx((900 * 1 + 900 * 2 + 3600 * 3 + 3600 * 4) / 9000)


@pytest.mark.parametrize(
    ("times", "values", "step_s", "message"),
    [
        ([], [], None, "holds no values"),
        ([START], [np.nan], HOUR, "holds no values"),
        ([START], [1.0], None, "give step_s"),
        ([START, START], [1.0, 2.0], None, "give each time once, ascending"),
        ([START, START - 60], [1.0, 2.0], None, "2026-03-29T00:59:00Z after 2026-03-29T01:00:00Z"),
        ([START * 1000, START * 1000 + 60], [1.0, 2.0], None, "not milliseconds"),
    ],
)
def test_unclear_series_are_refused(times: list, values: list, step_s: float | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Steps.from_times(np.array(times), np.array(values), step_s, "x", PROVENANCE)


LOCAL = ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"]  # one hour apart each
UNIX = [1_774_744_200, 1_774_747_800, 1_774_751_400]


@pytest.mark.parametrize("times", [LOCAL, UNIX, pd.to_datetime(LOCAL, utc=True)], ids=["iso", "unix", "timestamps"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_files_tell_the_same_times_in_every_form(tmp_path: Path, times: list, suffix: str) -> None:
    table = pd.DataFrame({"when": times, "eur": [0.1, -0.2, 0.3]})
    path = tmp_path / f"prices{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    series = SeriesFile(path=str(path), time="when", value="eur", source="exchange").read("EUR per kWh")
    np.testing.assert_array_equal(series.begin_unix_s, UNIX)
    np.testing.assert_array_equal(series.values, [0.1, -0.2, 0.3])
    assert str(series.provenance) == (
        f"a series of 3 values in EUR per kWh; source: exchange; method: file {tmp_path}/prices{suffix}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,per_kwh\n2026-03-29 01:00,1\n", "has no offset from UTC"),
        ("time,per_kwh\n2026-03-29T01:00Z,1\nlaterZ,2\n", "give ISO 8601 or Unix seconds"),
        ("time,per_kwh\n1,x\n", "column 'per_kwh': 'x' is not a number"),
        ("time,per_kwh\n,1\n", "has an empty cell"),
        ("time,per_kw\n1,1\n", "no column 'per_kwh'; did you mean 'per_kw'"),
        ("", "cannot be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "series.csv"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        SeriesFile(path=str(path), source="me").read("g")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a file"):
        SeriesFile(path=str(tmp_path / "none.csv"), source="me").read("g")
