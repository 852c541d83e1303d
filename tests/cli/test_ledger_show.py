"""`collapse ledger STORE`: what a real meter of this machine told of a real lineage."""

import json
from pathlib import Path

import pandas as pd
import pytest
from cli_command import Command
from plain_metering import metered_here

from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.ledger.ancestry import write_energies
from collapse_ray.ledger.query import read_ledger
from collapse_ray.lineage.index import read_indices
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.report.results import load
from collapse_ray.train.execution import RunConfig

LINEAGE = {
    "source": {"kind": "normal", "num_samples": 2000, "dimension": 2},
    "family": "gaussian",
    "regime": {"kind": "mix", "real_fraction": 0.5},
    "depth": 2,
    "generate": {"block_size": 16},
    "evaluate": {"num_samples": 200},
}


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two generations of a lineage, metered, with the joules beside the records."""
    store = Store(str(tmp_path_factory.mktemp("metered") / "store"))
    run = RunConfig(store=store.uri)
    lineage = validate(LineageSpec, LINEAGE, "test")
    with metered_here(store) as marks:
        run_plain(check_all([Experiment("g", (lineage,), run)], store), run, marks=marks)
    assert write_energies(store, read_ledger(store)) == 7
    assert write_energies(store, read_ledger(store)) == 0
    return store


@pytest.mark.slow
def test_stages_and_idle_sum_to_all_there_is(metered: Store, collapse: Command) -> None:
    table = pd.DataFrame(json.loads(collapse("ledger", str(metered), "--format", "json").out))
    ledger = read_ledger(metered)
    whole_uj = sum(uj for uj in ledger.totals["settled_uj"].to_pylist())
    assert round(table["energy_j"].to_numpy().sum() * 1e6) == whole_uj
    assert set(table["stage"].dropna()) == {"ingest", "train", "evaluate", "generate", "orchestration"}


def test_records_carry_the_joules_of_their_accounts(metered: Store, collapse: Command) -> None:
    asked = collapse("ledger", str(metered), "--by", "artifact,stage", "--format", "json")
    by_artifact = {row["artifact"]: row["energy_j"] for row in json.loads(asked.out) if row["artifact"]}
    results = load(metered)
    stages = results.drop_duplicates(["lineage", "generation", "stage"])
    of_lineage = [joules for artifact, joules in by_artifact.items() if artifact in _artifacts(metered)]
    assert stages["energy_j"].to_numpy(float).sum() == pytest.approx(sum(of_lineage), rel=1e-12)


def _artifacts(store: Store) -> set[str]:
    (index,) = read_indices(store)
    names = ("model", "evaluation", "samples")
    return {entry[name] for entry in index["generations"] for name in names if entry[name]}


def test_embodied_energy_is_the_sum_over_the_ancestors(metered: Store, collapse: Command) -> None:
    asked = collapse("ledger", str(metered), "--embodied", "--format", "json")
    first, second = json.loads(asked.out)
    by_artifact = collapse("ledger", str(metered), "--by", "artifact", "--format", "json")
    joules = {row["artifact"]: row["energy_j"] for row in json.loads(by_artifact.out)}
    (index,) = read_indices(metered)
    one, two = index["generations"]
    # Generation 1: its training and the real rows, not the held-out ones. What is shorter than a sensor's tick may
    # have no account at all, which is no joule.
    made_of = [one["model"], index["train_samples"]]
    assert first["energy_j"] == pytest.approx(joules[one["model"]])
    assert first["embodied_j"] == pytest.approx(sum(joules.get(artifact, 0) for artifact in made_of))
    # Generation 2: all of that, the samples that its pool has, and its own training.
    made_of += [one["samples"], two["model"]]
    assert second["energy_j"] == pytest.approx(joules[two["model"]])
    assert second["embodied_j"] == pytest.approx(sum(joules.get(artifact, 0) for artifact in made_of))
    assert second["artifacts"] == 4


def test_carbon_is_joules_times_the_intensity_of_the_grid(metered: Store, collapse: Command) -> None:
    asked = collapse(
        "ledger", str(metered), "carbon={kind: constant, g_per_kwh: 360, source: test}", "--format", "json"
    )
    rows = json.loads(asked.out)
    assert [row["carbon_g_location"] for row in rows] == pytest.approx([row["energy_j"] / 1e4 for row in rows])


def test_every_format_holds_the_same(metered: Store, collapse: Command, tmp_path: Path) -> None:
    by = ("--by", "kind,stage,node")
    out = {form: tmp_path / f"joules.{form}" for form in ("csv", "json", "parquet")}
    for form, path in out.items():
        assert collapse("ledger", str(metered), *by, "--format", form, "--out", str(path)).code == 0
    csv, parquet = pd.read_csv(out["csv"]), pd.read_parquet(out["parquet"])
    assert csv["energy_j"].tolist() == pytest.approx(parquet["energy_j"].tolist())
    assert [row["energy_j"] for row in json.loads(out["json"].read_text())] == pytest.approx(csv["energy_j"].tolist())


def test_check_finds_what_was_taken_away(metered: Store, collapse: Command, tmp_path: Path) -> None:
    whole = collapse("ledger", str(metered), "--check")
    assert (whole.code, "to the microjoule" in whole.out) == (0, True)
    (segment, *_) = sorted((Path(metered.uri) / "ledger").glob("segment-*.parquet"))
    torn = tmp_path / "store" / "ledger" / segment.name
    torn.parent.mkdir(parents=True)
    torn.write_bytes(segment.read_bytes()[:-100])
    found = collapse("ledger", str(tmp_path / "store"), "--check")
    assert found.code == 1
    assert "torn" in found.err
    assert segment.name in found.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "lineag"), ["'lineag'", "lineage"]),
        (("carbon={kind: table, country: DEUX}",), ["carbon", "DEUX"]),
        (("carbn={kind: table}",), ["carbn", "carbon"]),
        (("--format", "parquet"), ["--out"]),
        (("--export", "codecarbon"), ["KIND=FILE"]),
        (("--export", "codecabron=x.csv"), ["codecarbon"]),
        (("--export", "codecarbon=x.csv", "facts.projct=x"), ["facts.projct", "project"]),
        (("--export", "huggingface=x.md", "exports.huggingface.training_type=pre-training"), ["carbon intensity"]),
    ],
)
def test_bad_questions(
    metered: Store, collapse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, says: list
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = collapse("ledger", str(metered), *arguments)
    assert outcome.code == 2
    assert [words for words in says if words not in outcome.err] == [], outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_a_ledger_says_so(tmp_path: Path, collapse: Command) -> None:
    for arguments in ((), ("--check",)):
        outcome = collapse("ledger", str(tmp_path / "none"), *arguments)
        assert outcome.code == 2
        assert "has no ledger" in outcome.err
