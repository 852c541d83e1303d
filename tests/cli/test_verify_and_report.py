import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from collapse_ray.artifact.store import Store
from collapse_ray.cli.main import app
from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.lineage import verify as verify_module
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.lineage.verify import Check
from collapse_ray.model.family import FamilySpec
from collapse_ray.train.execution import RunConfig

RIGHT = Check("O1", "E v", 1, expected=0.95, observed=0.96, standard_error=0.01)
WRONG = Check("O1", "E v", 2, expected=0.90, observed=0.95, standard_error=0.01)

runner = CliRunner()


def test_json_is_one_object_on_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(*arguments: object) -> list[Check]:
        sys.stdout.write("a library says something")
        return [RIGHT]

    monkeypatch.setattr(verify_module, "verify", noisy)
    result = runner.invoke(app, ["verify", "--json", "--replicas", "150", "--seed", "3"])
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (document["agrees"], document["replicas"], document["seed"]) == (True, 150, 3)
    assert document["checks"] == [
        {
            "oracle": "O1",
            "quantity": "E v",
            "generation": 1,
            "expected": 0.95,
            "observed": 0.96,
            "standard_error": 0.01,
            "z": pytest.approx(1.0),
            "verdict": "agrees",
        }
    ]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_exit_code_is_1_when_one_differs(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "verify", lambda *arguments: [RIGHT, WRONG])
    result = runner.invoke(app, ["verify", *flags])
    assert result.exit_code == 1
    assert "differs" in result.stdout


def test_oracles_are_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(verify_module, "verify", lambda ids, replicas, seed: asked.append((ids, replicas, seed)) or [])
    runner.invoke(app, ["verify", "--oracle", "O1", "--oracle", "O8"])
    assert asked == [(["O1", "O8"], 2000, 0)]


def lineages(store: Path, name: str, num_samples: int) -> None:
    lineage = LineageSpec(
        source=SourceSpec.resolve({"kind": "normal", "num_samples": num_samples}),
        family=FamilySpec.resolve("gaussian"),
        regime=RegimeSpec.resolve("replace"),
        depth=2,
    )
    run = RunConfig(store=str(store))
    run_plain(check_all([Experiment(name, (lineage,), run)], Store(run.store)), run)


@pytest.mark.slow
def test_report_writes_beside_the_store(tmp_path: Path) -> None:
    lineages(tmp_path / "store", "one", 40)
    result = runner.invoke(app, ["report", str(tmp_path / "store")])
    assert result.exit_code == 0
    assert "gaussian on normal" in result.stdout
    written = [Path(line) for line in result.stdout.splitlines()[-2:]]
    assert written == [tmp_path / "report" / "results.csv", tmp_path / "report" / "figure.png"]
    assert set(pd.read_csv(written[0])["stage"]) == {"train", "evaluate", "generate"}
    assert written[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_report_draws_one_figure_for_each_source(tmp_path: Path) -> None:
    for name, num_samples in (("one", 40), ("two", 50)):
        lineages(tmp_path / "store", name, num_samples)
    result = runner.invoke(app, ["report", str(tmp_path / "store"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["figure-normal-1.png", "figure-normal-2.png", "results.csv"]


def test_report_refuses_a_file_for_a_folder(tmp_path: Path) -> None:
    lineages(tmp_path / "store", "one", 40)
    (tmp_path / "taken").write_text("")
    result = runner.invoke(app, ["report", str(tmp_path / "store"), "--out", str(tmp_path / "taken")])
    assert isinstance(result.exception, InvalidInput)
    assert "taken" in str(result.exception)


@pytest.mark.parametrize("what", ["families", "sources", "metrics", "regimes"])
def test_every_kind_is_listed_with_its_fields(what: str) -> None:
    from collapse_ray.report.kinds import ROOTS  # noqa: PLC0415

    text = runner.invoke(app, ["list", what], env={"COLUMNS": "160"}).stdout
    words = text.split()
    for kind in ROOTS[what].kinds():
        assert kind in words
        assert set(ROOTS[what].of_kind(kind).model_fields) <= set(words)


def test_a_field_says_what_it_takes() -> None:
    from collapse_ray.report.kinds import type_words  # noqa: PLC0415

    vae = FamilySpec.of_kind("vae").model_fields
    assert type_words(vae["hidden"]) == "list of integer > 0 or null"
    assert type_words(vae["likelihood"]) == "bernoulli or gaussian or null"
    assert type_words(RegimeSpec.of_kind("mix").model_fields["real_fraction"]) == "number ≥ 0 and ≤ 1"
