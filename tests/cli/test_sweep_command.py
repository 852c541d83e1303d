"""`collapse sweep`: what a person and a job log see, what it leaves in the store."""

import io
from pathlib import Path

import pandas as pd
import pytest
import yaml
from cli_command import Command
from rich.console import Console
from sweep_command import without_ray

from collapse_ray.artifact.store import Store
from collapse_ray.cli.sweep_display import SweepDisplay
from collapse_ray.search.events import SweepEvent
from collapse_ray.search.outcome import LineageOutcome, SweepOutcome, write_sweep
from collapse_ray.search.spec import Sweep, load_sweep
from collapse_ray.search.trial import Trial
from collapse_ray.search.verdict import Verdict

SWEEP = {
    "base": {
        "source": {"kind": "normal", "num_samples": 25},
        "family": "gaussian",
        "evaluate": {"metrics": ["real_test_loss", "variance_ratio"], "num_samples": 100},
    },
    "axes": {"regime": ["replace", {"kind": "mix", "real_fraction": 0.5}]},
    "depth": 3,
    "seeds": [0, 1],
    "run": {"store": "store", "meter": {"enabled": False}},
}


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the sweep s.yaml; sweeps run without Ray."""
    monkeypatch.chdir(tmp_path)
    without_ray(monkeypatch)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    return tmp_path


def sweep_in(folder: Path) -> Sweep:
    return load_sweep(folder / "s.yaml")


@pytest.mark.slow
def test_a_job_log_has_a_line_for_each_generation(swept: Path, collapse: Command) -> None:
    outcome = collapse("sweep", "s.yaml")
    assert outcome.code == 0, outcome.err
    assert "\x1b" not in outcome.out
    assert "\r" not in outcome.out
    lines = outcome.out.splitlines()
    assert lines[0] == f"sweep {sweep_in(swept).id}: 4 lineages, of up to 3 generations"
    about = [line for line in lines if line.startswith("[") and "replace seed 0" in line]
    assert [line.split("  ")[2:4] for line in about] == [
        ["generation 0 of 3", "running"],
        ["generation 1 of 3", "running"],
        ["generation 2 of 3", "running"],
        ["generation 3 of 3", "complete"],
    ]
    assert lines[-1] == f"results: {swept}/store/results.parquet   frontier: {swept}/store/frontier.parquet"


@pytest.mark.slow
def test_what_a_sweep_leaves_in_the_store(swept: Path, collapse: Command) -> None:
    collapse("sweep", "s.yaml")
    of = sweep_in(swept).id
    results = pd.read_parquet(swept / "store" / "results.parquet")
    assert set(results["sweep"]) == {of}
    assert set(results["lineage"].str.rsplit("-", n=1).str[0]) == {"s-replace", "s-mix-0.5"}
    frontier = pd.read_parquet(swept / "store" / "frontier.parquet")
    assert frontier["regime"].tolist() == ["replace", "mix"]
    assert frontier["num_lineages"].tolist() == [2, 2]


@pytest.mark.slow
def test_the_tables_say_what_became_of_each_arm(swept: Path, collapse: Command) -> None:
    out = collapse("sweep", "s.yaml").out
    assert "mix real_fraction=0.5" in out
    assert "regime.real_fraction" in out
    # For each of two seeds the same in both regimes: real data (2), generation 1 and its evaluation. A mix is made of
    # fewer samples.
    assert "saved by sharing 8 artifacts" in out
    assert "stopping" not in out


def test_lineages_that_a_rule_stopped_are_counted(swept: Path, collapse: Command) -> None:
    # Each generation has a quarter of the variance of the one before.
    shrinking = ["base.generate.sampling.temperature=0.5", "axes.regime=[replace]", "seeds=[0]", "depth=6"]
    out = collapse("sweep", "s.yaml", *shrinking, "stop.verdicts=[collapsing_variance]").out
    assert "stopped: collapsing_variance collapsed" in out
    assert "saved by stopping 1 lineage early (s-replace-" in out
    assert "collapsed: collapsing_variance at " in out


@pytest.mark.slow
def test_a_frontier_search_shows_frontiers_and_no_arms(swept: Path, collapse: Command) -> None:
    overrides = [
        "base.regime=mix",
        "axes={regime.real_fraction: {low: 0, high: 1, step: 0.1}}",
        "search={kind: frontier, axis: regime.real_fraction, verdict: collapsing_variance, precision: 0.2}",
        "seeds=[0]",
        "budget.trials=4",
    ]
    outcome = collapse("sweep", "s.yaml", *overrides)
    assert outcome.code == 0, outcome.err
    assert "as many lineages as the search asks for" in outcome.out
    assert "confidence" in outcome.out
    assert "seeds" not in outcome.out


@pytest.mark.slow
def test_a_failure_is_told(swept: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415

    def run_sweep(sweep: Sweep, on_event: object, metering: object) -> None:
        from plain_sweep import run_plain_sweep  # noqa: PLC0415

        document = run_plain_sweep(sweep)
        first, *others = document.outcome.lineages
        failed = LineageOutcome(first.point, first.seed, "failed", reason="the disk is full")
        write_sweep(Store(sweep.run.store), sweep, SweepOutcome("failed", (failed, *others)))

    monkeypatch.setattr(sys.modules["collapse_ray.search.runner"], "run_sweep", run_sweep)
    out = collapse("sweep", "s.yaml").out
    assert "replace seed 0 failed: the disk is full" in out
    assert "the sweep is failed: a lineage failed for good" in out


# The live table -----------------------------------------------------------------------------------


def collapsed_at(generation: int) -> dict[str, Verdict]:
    return {"lost_tail": Verdict("lost_tail", 7, "collapsed", "", generation, generation)}


def test_the_live_table_shows_those_that_run_first_and_fits_the_screen(swept: Path) -> None:
    sweep = sweep_in(swept)
    console = Console(file=io.StringIO(), width=120, height=13, force_terminal=True)
    with SweepDisplay(sweep, 40, console) as display:
        for seed in range(20):
            trial = Trial({"regime": "replace"}, seed)
            state = "complete" if seed < 18 else "running"
            display.on_event(SweepEvent(trial, state, "x", 2, "train", verdicts=collapsed_at(2), energy_j=1.5))
        shown = Console(width=120, record=True, file=io.StringIO())
        shown.print(display.table())
    lines = shown.export_text().splitlines()
    rows = [line for line in lines if line.startswith("replace")]
    assert [line.split()[1:4] for line in rows] == [
        ["19", "2/3", "train"],
        ["18", "2/3", "train"],
        ["17", "2/3", "complete"],
        ["16", "2/3", "complete"],
        ["15", "2/3", "complete"],
    ]
    assert all("collapsed: lost_tail at 2" in line and line.rstrip().endswith("1.5 J") for line in rows)
    assert lines[-1] == "18 complete · 2 running · 40 in all · 30 J"


def test_a_log_line_says_when_a_generation_was_found(swept: Path) -> None:
    text = io.StringIO()
    display = SweepDisplay(sweep_in(swept), None, Console(file=text, width=200, markup=False, highlight=False))
    trial = Trial({"regime": "replace"}, 3)
    display.on_event(SweepEvent(trial, "waiting"))
    display.on_event(SweepEvent(trial, "running", generation=1, reused=True))
    display.on_event(SweepEvent(trial, "running", generation=1, stage="train"))
    display.on_event(SweepEvent(trial, "stopped", generation=2, reason="why", energy_j=20000.0))
    assert text.getvalue().splitlines() == [
        "[0 ended]  replace seed 3  generation 1 of 3  running (found)",
        "[1 ended]  replace seed 3  generation 2 of 3  stopped: why  20 kJ",
    ]


# Kinds --------------------------------------------------------------------------------------------


def test_verdicts_are_listed_by_their_definition(swept: Path, collapse: Command) -> None:
    lines = collapse("list", "verdicts").out.splitlines()
    numbered = [line.split()[:2] for line in lines if line[:1].isdigit()]
    assert numbered == [
        ["1", "catastrophic_risk"],
        ["2", "any_risk_increase"],
        ["3", "diverging_risk"],
        ["4", "collapsing_variance"],
        ["5", "changed_scaling_law"],
        ["6", "lost_modes"],
        ["7", "lost_tail"],
        ["8", "hallucinated_data"],
    ]
    (image,) = [line for line in lines if "frechet_distance" in line]
    assert [word for word in image.split()[1:6] if word.isascii()] == ["frechet_distance", "1.5", "3"]


@pytest.mark.parametrize(
    ("what", "kinds"),
    [("searches", ["frontier", "grid", "optuna", "random"]), ("schedulers", ["asha", "median", "none"])],
)
def test_searches_and_schedulers_are_listed(what: str, kinds: list[str], swept: Path, collapse: Command) -> None:
    lines = collapse("list", what).out.splitlines()
    assert [line.split()[0] for line in lines[2:] if line[:1].isalpha()] == kinds
