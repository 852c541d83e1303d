"""Sources of tables against what is known of their data."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opened_sources import opened, whole

from collapse_ray.data.source import RealData

ADULT = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]


def adult(shared_data: Path, **fields: Any) -> RealData:
    folder = shared_data / "adult"
    options = {"header": False, "names": ADULT, "missing": ["?"], "comment": "|", "strip": "."}
    return opened("csv", path=folder / "adult.data", holdout=folder / "adult.test", **options, **fields)


def test_adult_has_its_published_rows_and_moments(shared_data: Path) -> None:
    data = adult(shared_data, columns=["age", "hours_per_week", "sex", "income"], standardise=False)
    rows, holdout = whole(data.rows), whole(data.holdout)
    assert rows.shape == (32_561, 6)
    assert holdout.shape == (16_281, 6)
    assert rows.mean(axis=0) == pytest.approx([38.5816, 40.4375, 0.33079, 0.66921, 0.75919, 0.24081], abs=1e-4)
    columns = json.loads(data.files["columns.json"])
    assert columns[2:] == [
        {"kind": "one_hot", "name": "sex", "levels": ["Female", "Male"]},
        {"kind": "one_hot", "name": "income", "levels": ["<=50K", ">50K"]},
    ]


@pytest.mark.slow
def test_adult_without_its_incomplete_rows(shared_data: Path) -> None:
    data = adult(shared_data, columns=ADULT, drop_missing=True)
    assert (len(data.rows), len(whole(data.holdout))) == (30_162, 15_060)  # as adult.names counts them


def test_adult_test_alone_with_skipped_line(shared_data: Path) -> None:
    data = opened("csv", path=shared_data / "adult" / "adult.test", header=False, names=ADULT, skip_rows=1)
    assert whole(data.rows).shape == (16_281, 6)  # the six columns of numbers


TABLE = pa.table({"x": [1.0, 2.0, 6.0], "code": [3, 1, 3], "yes": [True, False, True], "name": ["b", "a", "b"]})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_vectors_by_hand(table: Path) -> None:
    data = opened("parquet", path=table, columns=["name", "x", "yes", "code"], categorical=["code"])
    std = np.sqrt(14 / 3)
    expected = [
        [0, 1, -2 / std, 0, 1, 0, 1],
        [1, 0, -1 / std, 1, 0, 1, 0],
        [0, 1, 3 / std, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(whole(data.rows), expected)


def test_default_is_every_column_of_numbers(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = opened("parquet", path=table, standardise=False)
    assert whole(data.rows).tolist() == [[1, 3], [2, 1], [6, 3]]
    assert "left out the columns that are not numbers: yes, name" in caplog.text


def test_holdout_is_scaled_by_the_training_rows(tmp_path: Path, table: Path) -> None:
    pq.write_table(pa.table({"x": [3.0]}), tmp_path / "test.parquet")
    data = opened("parquet", path=table, holdout=tmp_path / "test.parquet", columns=["x"])
    assert whole(data.holdout).tolist() == [[0.0]]


def test_num_samples_are_taken_after_incomplete_rows_and_before_the_scale(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([None, 1, 3, 100])}), tmp_path / "a.parquet")
    data = opened("parquet", path=tmp_path / "a.parquet", drop_missing=True, num_samples=2)
    assert whole(data.rows).tolist() == [[-1.0], [1.0]]


def test_parquet_folder_is_read_in_the_order_of_paths(tmp_path: Path) -> None:
    for year, x in ((2021, [3.0]), (2020, [1.0, 2.0])):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table({"x": x}), tmp_path / f"year={year}" / "part.parquet")
    (tmp_path / "record.json").write_text("{}")
    data = opened("parquet", path=tmp_path, columns=["x", "year"], standardise=False, categorical=["year"])
    assert whole(data.rows).tolist() == [[1, 1, 0], [2, 1, 0], [3, 0, 1]]


def test_csv_of_another_dialect(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf# made by hand\n"a" ; b\n1 ; " u"\n 2.5;v \n\n-1e3;-\n')
    options: dict[str, Any] = {"separator": ";", "skip_rows": 1, "missing": ["-"], "standardise": False}
    data = opened("csv", path=tmp_path / "a.csv", columns=["a", "b"], drop_missing=True, **options)
    assert whole(data.rows).tolist() == [[1, 1, 0], [2.5, 0, 1]]


def test_compressed_csv_is_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\n1\n2\n"))
    assert whole(opened("csv", path=tmp_path / "a.csv.gz").rows).tolist() == [[-1.0], [1.0]]


def test_relative_path_starts_at_the_working_directory(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    shutil.move(table, tmp_path / "below" / "moved.parquet")
    monkeypatch.chdir(tmp_path)
    assert len(opened("parquet", path="below/moved.parquet").rows) == 3
