"""`collapse plan`: what it prints, what it refuses, and that it leaves nothing behind."""

import json
import sys
from pathlib import Path

import pytest
from cli_command import Command

SWEEP = """
base:
  source: {kind: normal}
  family: gaussian
  evaluate: {metrics: [real_test_loss, variance_ratio], num_samples: 100}
axes:
  regime: [replace, accumulate]
depth: 3
run: {store: store}
"""


@pytest.fixture
def specs(here: Path) -> Path:
    (here / "s.yaml").write_text(SWEEP)
    return here


def test_a_lineage_before_and_after_its_run(specs: Path, collapse: Command) -> None:
    before = collapse("plan", "g.yaml")
    assert before.code == 0, before.err
    assert "run g: 1 lineage, of up to 2 generations" in before.out
    assert "model: a stated model" in before.out
    assert not (specs / "store").exists()
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
    assert collapse("run", "g.yaml", "run.meter.enabled=false").code == 0
    after = collapse("plan", "g.yaml", "depth=3", "run.meter.enabled=false")
    rows = [line.split()[:3] for line in after.out.splitlines()]
    assert [row for row in rows if row[:1] in ([stage] for stage in ("ingest", "train", "evaluate", "generate"))] == [
        ["ingest", "0", "2"],
        ["train", "1", "2"],
        ["evaluate", "1", "2"],
        ["generate", "1", "1"],
    ]
    assert "records: records of the same settings in this store" in after.out
    assert "nothing was written" in after.out


def test_a_sweep_and_a_lineage_as_json(specs: Path, collapse: Command) -> None:
    outcome = collapse("plan", "s.yaml", "g.yaml", "--json")
    assert outcome.code == 0, outcome.err
    plan = json.loads(outcome.out)
    sweep, run = plan["specs"]
    assert [row["num_to_compute"] for row in sweep["rows"]] == [2, 5, 5, 3]
    assert (sweep["num_lineages"], run["num_lineages"]) == (2, 1)
    assert sweep["resources"]["where"] == "this machine"
    cost = plan["cost"]
    assert cost["gpu_hours"] == {"value": 0, "low": 0, "high": 0, "basis": "model"}
    for quantity in ("duration_s", "energy_j", "num_bytes"):
        assert cost[quantity]["low"] < cost[quantity]["value"] < cost[quantity]["high"]
        assert cost[quantity]["value"] == pytest.approx(sum(spec["cost"][quantity]["value"] for spec in (sweep, run)))


def test_more_than_the_machine_has(specs: Path, collapse: Command) -> None:
    outcome = collapse("plan", "g.yaml", "run.workers=500")
    assert outcome.code == 0
    assert "does not fit: a lineage takes 500 workers, 500 CPUs" in outcome.out
    assert "elapsed: unknown" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["depth=3"], ["no spec file among depth=3", "give one, such as"]),
        (["h.yaml"], ["h.yaml does not exist", "choices: g.yaml, s.yaml"]),
        (["g.yaml", "famly=gaussian"], ["famly", "did you mean 'family'?"]),
        (["s.yaml", "depth=0"], ["depth: given 0"]),
        (["s.yaml", "axes={regime: [replace, {kind: replace}]}"], ["are the same lineage", "remove one"]),
        (["g.yaml", "t.yaml"], ["t: its run settings differ from those of g", "plan them in two commands"]),
        (["g.yaml", "source.num_samples=1"], ["holdout_fraction=0.2 holds out 0"]),
        (["g.yaml", "run.store=ftp://nowhere/store"], ["cannot open the store", "run.store"]),
    ],
)
def test_what_cannot_run_cannot_be_planned(
    arguments: list[str], says: list[str], specs: Path, collapse: Command
) -> None:
    (specs / "t.yaml").write_text((specs / "g.yaml").read_text().replace("store: store", "store: other"))
    outcome = collapse("plan", *arguments)
    assert outcome.code == 2, outcome.out
    assert [words for words in says if words not in outcome.err] == [], outcome.err
    assert not (specs / "store").exists()
