"""The BoAmps report against its schema and hand-computed sums."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from exported_accounts import COMPLETE, MISSING, account, exported

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.export import Export

SCHEMA = json.loads(Path(__file__).with_name("boamps_schema.json").read_text())

ASKED: dict[str, Any] = {
    "kind": "boamps",
    "task_family": "image generation",
    "algorithms": [{"algorithm_type": "neural network", "algorithm_name": "vae", "parameters_number": 0.0001}],
    "dataset": [{"data_usage": "input", "data_type": "image", "data_quantity": 1437}],
    "infra_type": "onPremise",
}


def report(tmp_path: Path, *rows: dict[str, Any], asked: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    """A report that was written, read back and found valid."""
    path = Export.resolve({**ASKED, **(asked or {})}).write(exported(*rows, **facts), tmp_path)
    content = json.loads(path.read_text())
    jsonschema.Draft4Validator(SCHEMA).validate(content)
    return content


def test_the_schema_finds_what_is_missing_or_misspelt() -> None:
    """Else that a report is valid would say nothing."""
    measure = {"measurementMethod": "x", "powerConsumption": 1.0}
    task = {"taskStage": "training", "taskFamily": "x", "algorithms": [{}]}
    bad = {
        "task": {**task, "dataset": [{"dataUsage": "input"}]},
        "measures": [{**measure, "unit": "kWh"}],
        "infrastructure": {"infraType": "attic", "components": []},
    }
    messages = " | ".join(error.message for error in jsonschema.Draft4Validator(SCHEMA).iter_errors(bad))
    assert all(word in messages for word in ("'dataType'", "'unit'", "'attic'", "[]"))


def test_a_report_holds_the_sums_and_the_facts(tmp_path: Path) -> None:
    facts = {"country": "France", "region": "Paris", "latitude": 48.9, "os": "linux", "python_version": "3.12.1"}
    content = report(tmp_path, *COMPLETE, **facts)
    (measure,) = content["measures"]
    assert measure == {
        "measurementMethod": "collapse-ray",
        "version": measure["version"],
        "cpuTrackingMode": "estimated",
        "gpuTrackingMode": "energy counter",
        "powerConsumption": pytest.approx(2.125),  # kWh of the devices: no PUE
        "measurementDuration": 1100.0,
        "measurementDateTime": "2026-01-01 00:00:00",
    }
    assert content["task"] == {
        "taskStage": "training+evaluation",
        "taskFamily": "image generation",
        "algorithms": [{"algorithmType": "neural network", "algorithmName": "vae", "parametersNumber": 0.0001}],
        "dataset": [{"dataUsage": "input", "dataType": "image", "dataQuantity": 1437.0}],
        "taskDescription": "Joules: 88.2 % counter, 11.8 % estimated.",
    }
    assert content["infrastructure"] == {
        "infraType": "onPremise",
        "components": [
            {"componentName": "RAPL package-0", "componentType": "cpu", "nbComponent": 1},
            {"componentName": "RAPL dram", "componentType": "ram", "nbComponent": 1},
            {"componentName": "NVIDIA H100", "componentType": "gpu", "nbComponent": 2},
        ],
    }
    assert content["environment"] == {
        "country": "France",
        "latitude": 48.9,
        "location": "Paris",
        "powerSourceCarbonIntensity": 100.0,
    }
    assert content["quality"] == "low"  # as its worst joules
    assert content["software"] == {"language": "python", "version": "3.12.1"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", content["header"]["reportDatetime"])


def test_a_report_with_the_least_is_valid(tmp_path: Path) -> None:
    content = report(tmp_path, account("gpu-0", 1.0, 0, 10), carbon=False)
    assert content["quality"] == "high"
    assert {"environment", "system"}.isdisjoint(content)
    assert "cpuTrackingMode" not in content["measures"][0]


def test_a_partly_unmeasured_total_says_so_and_promises_no_error(tmp_path: Path) -> None:
    content = report(tmp_path, *COMPLETE, MISSING, asked={"task_description": "A lineage of ten generations."})
    assert content["task"]["taskDescription"] == (
        "A lineage of ten generations. Joules: 88.2 % counter, 11.8 % estimated. "
        "Lower bound: 100 s of 4200 s of device time unmeasured (cpu)."
    )
    assert content["measures"][0]["cpuTrackingMode"] == "estimated, unmeasured"
    assert "quality" not in content


def test_the_same_part_of_the_same_ledger_keeps_its_id(tmp_path: Path) -> None:
    """A second export corrects the first; another ledger, or a stage of its own, is another report."""
    reports = [report(tmp_path, *COMPLETE), report(tmp_path, *COMPLETE), report(tmp_path, *COMPLETE, run_id="store-2")]
    reports.append(report(tmp_path, COMPLETE[0]))
    first, again, other, stage = (each["header"]["reportId"] for each in reports)
    assert first == again
    assert len({first, other, stage}) == 3


@pytest.mark.parametrize("content", ["{}", "[1]", "not JSON", '{"measures": [{"measurementMethod": "codecarbon"}]}'])
def test_a_file_of_others_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="not a report of collapse-ray"):
        Export.resolve(ASKED).write(exported(*COMPLETE), path)
    assert path.read_text() == content
    Export.resolve(ASKED).write(exported(*COMPLETE), path, force=True)
    assert json.loads(path.read_text())["measures"][0]["measurementMethod"] == "collapse-ray"
