"""`emissions.csv` against hand-computed sums, CodeCarbon's own header, and a row that CodeCarbon wrote."""

from pathlib import Path

import pandas as pd
import pytest
from exported_accounts import COMPLETE, MISSING, account, exported

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.exports.codecarbon import Spec

# Both lines were written by CodeCarbon 3.3.2 (OfflineEmissionsTracker, 4 s on a machine without a GPU).
HEADER = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue\n"
)
THEIRS = (
    "2026-11-20T14:39:14,p,ba0d8e07-cdcd-41ad-b3e6-1d474e43f2ce,5b0fa12a-3dd7-45bb-9766-cc326314d9f1,4.005760113999713,"
    "1.7249473465082666e-06,4.3061673625431433e-07,6.324107819853332,0.0,20.0,8.56174673449082e-06,0.0,"
    "2.221944754999438e-05,3.0781194284485204e-05,0.0,France,FRA,,,,Linux,3.11.7,3.3.2,2,AMD EPYC,0,,,,"
    "23.540584564208984,machine,33.06666666666667,0,19.3,4.54690424601237,N,1.0,0.0\n"
)

MIX_2 = account("gpu-0", 0.5, 2000, 2100, lineage="mix-2")
START = account("gpu-0", 0.1, -50, 0, kind="overhead", sweep=None, lineage=None, generation=None, stage="startup")


def test_a_row_holds_the_sums_in_the_units_of_codecarbon(tmp_path: Path) -> None:
    path = Spec().write(exported(*COMPLETE, country="France", country_iso_code="FRA", os="Linux"), tmp_path)
    assert path == tmp_path / "emissions.csv"
    assert path.read_text().startswith(HEADER)
    (row,) = pd.read_csv(path).to_dict("records")
    expected = {
        "timestamp": "2026-01-01T00:20:00",
        "project_name": "digits",
        "run_id": "store-1/mix-1",
        "experiment_id": "fractions",
        "duration": 1100.0,
        "emissions": pytest.approx(0.255),  # 2.125 kWh x 1.2 x 0.1 kg/kWh
        "emissions_rate": pytest.approx(0.255 / 1100),
        "cpu_power": pytest.approx(0.25 * 3.6e6 * 1.2 / 1100),
        "gpu_power": pytest.approx(1.75 * 3.6e6 * 1.2 / 1100),
        "ram_power": pytest.approx(0.125 * 3.6e6 * 1.2 / 1100),
        "cpu_energy": pytest.approx(0.3),
        "gpu_energy": pytest.approx(2.1),
        "ram_energy": pytest.approx(0.15),
        "energy_consumed": pytest.approx(2.55),
        "country_name": "France",
        "country_iso_code": "FRA",
        "os": "Linux",
        "gpu_count": 2,
        "gpu_model": "2 x NVIDIA H100",
        "tracking_mode": "process",
        "pue": 1.2,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["codecarbon_version"].startswith("collapse-ray ")
    assert row["codecarbon_version"].endswith("(88.2 % counter, 11.8 % estimated)")
    assert {name for name in row if pd.isna(row[name])} == row.keys() - expected.keys() - {"codecarbon_version"}


def test_codecarbons_own_relations_hold(tmp_path: Path) -> None:
    """What holds between the columns of a row of CodeCarbon's holds between ours, appended to it."""
    path = tmp_path / "emissions.csv"
    path.write_text(HEADER + THEIRS)
    Spec().write(exported(*COMPLETE), path)
    rows = pd.read_csv(path)
    assert list(rows["run_id"]) == ["ba0d8e07-cdcd-41ad-b3e6-1d474e43f2ce", "store-1/mix-1"]
    energy = rows[["cpu_energy", "gpu_energy", "ram_energy"]].sum(axis=1)
    assert rows["energy_consumed"].to_list() == pytest.approx(energy.to_list())
    assert rows["emissions_rate"].to_list() == pytest.approx((rows["emissions"] / rows["duration"]).to_list())
    ours = rows.loc[1]
    for prefix in ("cpu", "gpu", "ram"):
        mean_w = ours[f"{prefix}_energy"] * 3.6e6 / ours["duration"]
        assert ours[f"{prefix}_power"] == pytest.approx(mean_w)


def test_rows_of_others_stay_to_the_letter_and_an_export_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text(HEADER + THEIRS)
    Spec().write(exported(*COMPLETE), path)
    once = path.read_text()
    assert once.startswith(HEADER + THEIRS)
    Spec().write(exported(*COMPLETE), path)
    assert path.read_text() == once


def test_columns_in_another_order_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    names = HEADER.strip().split(",")[::-1]
    path.write_text(",".join(names) + "\r\n")
    Spec().write(exported(*COMPLETE), path)
    assert path.read_bytes().decode().split("\r\n")[0] == ",".join(names)
    assert pd.read_csv(path)["energy_consumed"].to_list() == [pytest.approx(2.55)]


def test_one_row_per_lineage_and_one_for_work_of_none(tmp_path: Path) -> None:
    rows = pd.read_csv(Spec().write(exported(*COMPLETE, MIX_2, START, pue=None), tmp_path))
    assert rows["run_id"].to_list() == ["store-1", "store-1/mix-1", "store-1/mix-2"]
    assert rows["energy_consumed"].to_list() == pytest.approx([0.1, 2.125, 0.5])
    assert rows["emissions"].to_list() == pytest.approx([0.01, 0.2125, 0.05])
    assert rows["experiment_id"].isna().to_list() == [True, False, False]


def test_what_is_not_known_is_empty_and_never_zero(tmp_path: Path) -> None:
    path = Spec().write(exported(account("gpu-0", 1.0, 0, 10), carbon=False, pue=None), tmp_path)
    (row,) = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    absent = ["emissions", "emissions_rate", "cpu_energy", "ram_energy", "cpu_power", "water_consumed", "pue", "wue"]
    assert [row[name] for name in absent] == [""] * len(absent)
    assert (row["gpu_energy"], row["energy_consumed"]) == ("1.0", "1.0")


def test_a_partly_unmeasured_total_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"100 s of 4200 s of device time unmeasured \(cpu\).*lower_bound=true"):
        Spec().write(exported(*COMPLETE, MISSING), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lower_bound_says_so_in_the_name_of_its_project(tmp_path: Path) -> None:
    rows = pd.read_csv(Spec(lower_bound=True).write(exported(*COMPLETE, MISSING, MIX_2), tmp_path))
    assert rows["project_name"].to_list() == [
        "digits (lower bound: 100 s of 4200 s of device time unmeasured (cpu))",
        "digits",
    ]
    first = rows.loc[0]
    assert first["cpu_energy"] == pytest.approx(0.3)
    assert pd.isna(first["cpu_power"])  # of some of the time, nobody knows it
    assert first["gpu_power"] == pytest.approx(1.75 * 3.6e6 * 1.2 / 1100)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "\0", "timestamp,project_name\n2025,x\n", HEADER + "1,2\n"])
def test_a_table_of_other_columns_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"emissions\.csv was not written: .*columns of CodeCarbon"):
        Spec().write(exported(*COMPLETE), path)
    assert path.read_text() == content
    Spec().write(exported(*COMPLETE), path, force=True)
    assert path.read_text().startswith(HEADER)
