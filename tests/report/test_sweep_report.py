"""Arms and frontiers of sweeps, against series and brackets that are known."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from plain_sweep import run_plain_sweep, sweep_of
from rich.console import Console

from collapse_ray.artifact.record import ArtifactEnergy
from collapse_ray.artifact.store import Store
from collapse_ray.report.frontiers import frontier_frame, write_frontiers
from collapse_ray.report.headline import per_lineage
from collapse_ray.report.results import load
from collapse_ray.report.stopped import saved_note, write_stopped
from collapse_ray.report.sweep_arms import Survival, SweepArm, survived, sweep_arms
from collapse_ray.report.sweep_table import arms_table, cost_lines, frontier_rows, verdict_words
from collapse_ray.search.accounting import Amount, StoppedLineage, SweepCost
from collapse_ray.search.outcome import LineageOutcome, read_sweeps
from collapse_ray.search.stop import StopRule
from collapse_ray.search.verdict import Status, Verdict

FRACTIONS = (0.0, 0.25, 0.5, 1.0)
MIXES = {"regime": ["mix"], "regime.real_fraction": [*FRACTIONS]}


def verdict(kind: str, status: Status, generation: int | None = 3) -> Verdict:
    return Verdict(kind, 1, status, "", generation, generation if status.startswith("collaps") else None)


# Survival -----------------------------------------------------------------------------------------

ONE = StopRule(verdicts=("a",))
BOTH = StopRule(verdicts=("a", "b"), when="all")
EITHER = StopRule(verdicts=("a", "b"))


@pytest.mark.parametrize(
    ("rule", "statuses", "complete", "expected"),
    [
        (ONE, ["collapsed"], False, "collapsed"),
        (ONE, ["collapsing"], True, "survived"),
        (ONE.model_copy(update={"at": "collapsing"}), ["collapsing"], True, "collapsed"),
        (ONE, ["undecided"], True, "undecided"),
        (ONE, ["healthy"], True, "survived"),
        (ONE, ["healthy"], False, "undecided"),
        (ONE, ["not measured"], True, "undecided"),
        (EITHER, ["healthy", "collapsed"], True, "collapsed"),
        (EITHER, ["healthy", "undecided"], True, "undecided"),
        (EITHER, ["healthy", "not measured"], True, "survived"),
        (BOTH, ["collapsed", "undecided"], True, "undecided"),
        (BOTH, ["collapsed", "collapsed"], True, "collapsed"),
        (BOTH, ["collapsed", "healthy"], True, "survived"),
    ],
)
def test_survival_is_what_the_rule_says(rule: StopRule, statuses: list[Status], complete: bool, expected: str) -> None:
    verdicts = {kind: verdict(kind, status) for kind, status in zip("ab", statuses, strict=False)}
    assert survived(rule, verdicts, 5, complete=complete) == expected


# Arms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("survivals", "expected", "words"),
    [
        (("survived", "survived", "collapsed"), "survived", "survived (2 of 3)"),
        (("survived", "collapsed"), "survived", "survived (1 of 2)"),
        (("collapsed", "collapsed", "undecided"), "collapsed", "collapsed (2 of 3)"),
        (("survived", "collapsed", "undecided"), "undecided", "undecided (1 of 3 survived)"),
        (("undecided",), "undecided", "undecided (0 of 1 survived)"),
    ],
)
def test_an_arm_survives_with_half_of_its_lineages(
    survivals: tuple[Survival, ...], expected: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = LineageOutcome({"regime": "mix"}, 0, "complete", generation=3)
    arm = SweepArm({"regime": "mix"}, (lineage,) * len(survivals), (), {}, survivals)
    assert arm.survival == expected
    Console(width=200).print(arms_table([arm], [None]))
    assert words in capsys.readouterr().out


@pytest.mark.slow
def test_the_profile_of_an_arm_is_that_of_its_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes={"regime": ["replace", "accumulate"]}, seeds=[0, 1, 2])
    document = run_plain_sweep(sweep)
    results = load(sweep.run.store)
    arms = sweep_arms(Store(sweep.run.store), document, results)
    assert [arm.label for arm in arms] == ["replace", "accumulate"]
    for arm in arms:
        ids = [lineage.lineage or "" for lineage in arm.lineages]
        loss = per_lineage(results, ids, "real_test_loss")
        (found,) = arm.verdicts["any_risk_increase"].evidence
        assert found.first == pytest.approx(loss.loc[1].mean())
        assert found.num_replicates == 3
        assert found.value == pytest.approx(loss.loc[found.generation].mean())
        assert arm.num_generations == 12


def test_arms_of_several_pool_sizes_have_a_scaling_law(tmp_path: Path) -> None:
    axes = {"regime": ["replace", "accumulate"], "source.num_samples": [25, 50, 100]}
    base = {"source": "normal", "family": "gaussian", "evaluate": {"metrics": ["real_test_loss"], "num_samples": 0}}
    document = run_plain_sweep(sweep_of(tmp_path, axes=axes, base=base, depth=2))
    arms = sweep_arms(Store(str(tmp_path / "store")), document, load(str(tmp_path / "store")))
    measured = {arm.label for arm in arms if arm.verdicts["changed_scaling_law"].status != "not measured"}
    assert measured == {"replace num_samples=100", "accumulate num_samples=100"}


# Frontiers ----------------------------------------------------------------------------------------


def bracketed(folder: Path, monkeypatch: pytest.MonkeyPatch, survivals: list[str]) -> dict[str, Any]:
    """The frontier of a grid whose arms ended so."""
    sweep = sweep_of(folder, axes=MIXES, depth=2)
    document = run_plain_sweep(sweep)
    store, ends = Store(sweep.run.store), iter(survivals)
    monkeypatch.setattr("collapse_ray.report.sweep_arms.survived", lambda *_, **__: next(ends))
    frame = frontier_frame(store, [document], load(store))
    (row,) = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return row


@pytest.mark.parametrize(
    ("survivals", "low", "high", "censored"),
    [
        (["collapsed", "collapsed", "survived", "survived"], 0.25, 0.5, None),
        (["collapsed", "undecided", "undecided", "survived"], 0.0, 1.0, None),
        (["survived"] * 4, None, 0.0, "all_survive"),
        (["collapsed"] * 4, 1.0, None, "none_survives"),
        (["undecided"] * 4, None, None, None),
        (["survived", "collapsed", "survived", "survived"], 0.25, 0.5, None),
    ],
)
def test_a_grid_brackets_the_frontier(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    survivals: list[str],
    low: float | None,
    high: float | None,
    censored: str | None,
) -> None:
    row = bracketed(tmp_path, monkeypatch, survivals)
    assert (row["low"], row["high"], row["estimate"]) == (low, high, high)
    assert row["censored"] == censored
    assert (row["axis"], row["regime"], row["confidence"]) == ("regime.real_fraction", "mix", None)
    assert (row["num_lineages"], row["num_generations"], row["energy_j"]) == (4, 8, None)


@pytest.mark.slow
def test_a_frontier_has_a_row_for_each_arm_of_a_search(tmp_path: Path) -> None:
    axes = {"regime": ["mix", {"kind": "mix", "num_samples": 10}], "regime.real_fraction": {"low": 0, "high": 1}}
    search = {
        "kind": "frontier",
        "axis": "regime.real_fraction",
        "verdict": "collapsing_variance",
        "precision": 0.5,
        "report_at": {},
    }
    sweep = sweep_of(tmp_path, axes=axes, search=search, depth=3, budget={"trials": 10})
    document = run_plain_sweep(sweep)
    store = Store(sweep.run.store)
    frame = write_frontiers(store, load(store))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "store" / "frontier.parquet"), frame, check_dtype=False)
    assert frame["regime.num_samples"].fillna(0).tolist() == [0, 10]
    assert sum(frame["num_lineages"]) == len(document.outcome.lineages) == 10
    assert set(frame["sweep"]) == {sweep.id}
    assert frame["confidence"].tolist() == [0.95, 0.95]
    ends = [[found.lower, found.upper] for found in document.outcome.frontiers]
    read = pd.read_parquet(tmp_path / "store" / "frontier.parquet")[["low", "high"]].astype(object)
    assert read.where(read.notna(), None).to_numpy().tolist() == ends


def test_the_energy_of_a_row_counts_each_artifact_once(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes=MIXES, depth=2)
    document = run_plain_sweep(sweep)
    store, models = Store(sweep.run.store), list((tmp_path / "store" / "artifacts" / "model").iterdir())
    for path in models:
        store.write_energy("model", path.name, ArtifactEnergy(1.0, "counter"))
    # Generation 1 is one model for all fractions.
    assert len(models) == 1 + len(FRACTIONS)
    assert frontier_frame(store, [document], load(store))["energy_j"].tolist() == [5.0]


@pytest.mark.slow
def test_sweeps_of_different_axes_share_a_table(tmp_path: Path) -> None:
    run_plain_sweep(sweep_of(tmp_path, axes=MIXES, depth=2))
    other = {"regime": ["replace"], "generate.sampling.temperature": [0.9, 1.0]}
    run_plain_sweep(sweep_of(tmp_path, axes=other, depth=2))
    store = Store(str(tmp_path / "store"))
    frame = frontier_frame(store, read_sweeps(store), load(store))
    assert frame["axis"].tolist() == ["regime.real_fraction", "generate.sampling.temperature"]
    assert frame["regime"].tolist() == ["mix", "replace"]


# Tables -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["collapsed", "collapsing", "healthy"], "collapsed: a at 3"),
        (["healthy", "collapsing", "collapsing"], "collapsing: b at 3, c at 3"),
        (["healthy", "not measured", "healthy"], "healthy"),
        (["healthy", "undecided", "not measured"], "undecided (1 of 2 healthy)"),
        (["not measured", "not measured", "not measured"], "-"),
    ],
)
def test_a_profile_in_words(statuses: list[Status], words: str) -> None:
    verdicts = {kind: verdict(kind, status) for kind, status in zip("abc", statuses, strict=True)}
    assert verdict_words(verdicts).plain == words


@pytest.mark.slow
def test_the_tables_of_a_sweep(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes=MIXES, depth=2, seeds=[0, 1])
    document = run_plain_sweep(sweep)
    results = load(sweep.run.store)
    arms = sweep_arms(Store(sweep.run.store), document, results)
    console = Console(width=120, record=True)
    console.print(arms_table(arms, [12.5, None, 123456.0, 0.0]))
    text = console.export_text()
    assert "mix real_fraction=0.25" in text
    assert [line.split()[-2:] for line in text.splitlines()[2:6]] == [
        ["12.5", "J"],
        ["healthy)", "-"],
        ["123.5", "kJ"],
        ["0", "J"],
    ]
    rows = frontier_rows(frontier_frame(Store(sweep.run.store), [document], results))
    assert "confidence" not in rows.columns
    assert "sweep" not in rows.columns


def test_what_was_saved_is_said_and_what_is_not_known_too() -> None:
    one = StoppedLineage("s-1", 3, Amount(5.0, 1.0), Amount(None, 2.0), 1)
    cost = SweepCost((one,), Amount(5.0, 1.0), Amount(None, 2.0), Amount(7.0, 30.0), 2, 1)
    assert cost_lines(cost) == [
        "spent: 5 J over 1 s of stages",
        "saved by stopping 1 lineage early (s-1 after generation 3): -, 2 s (estimated)",
        "saved by sharing 2 artifacts: 7 J, 30 s",
        "1 artifact has no joules: it is in none of these sums",
    ]


# Stopped lineages ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_lineages_tell_what_they_saved(tmp_path: Path) -> None:
    """Each stage costs 2 J: what is missing to the depth costs as much as the same stages did."""
    signal = {"metric": "variance_ratio", "worse": "lower", "scale": "ratio", "tolerance": 0.95, "threshold": 0.9}
    verdict = {"kind": "collapsing_variance", "vector": {**signal, "replicate_stddev": 1e-6}}
    base = {
        "source": {"kind": "normal", "num_samples": 10, "dimension": 2},
        "family": "gaussian",
        "regime": "replace",
        "evaluate": {"num_samples": 32, "metrics": ["variance_ratio"]},
    }
    stop = {"verdicts": ["collapsing_variance"]}
    sweep = sweep_of(tmp_path, axes={}, base=base, depth=8, profile={"verdicts": [verdict]}, stop=stop, seeds=[0, 1])
    document = run_plain_sweep(sweep)
    store = Store(sweep.run.store)
    assert saved_note(store) is not None
    for kind in ("samples", "model", "evaluation"):
        for of in store.fingerprints(kind):
            store.write_energy(kind, of, ArtifactEnergy(energy_j=2.0, quality="counter"))
    rows = write_stopped(store).to_dict("records")
    stopped = {each.lineage: each for each in document.outcome.lineages if each.state == "stopped"}
    assert stopped
    assert {row["lineage"] for row in rows} == set(stopped)
    for row in rows:
        ends = stopped[row["lineage"]].generation
        # Real rows and held-out ones, then three stages a generation; the last one is not sampled.
        assert row["spent_j"] == 2.0 * (2 + 3 * ends - 1)
        assert row["to_depth_j"] == pytest.approx(2.0 * (2 + 3 * 8 - 1))
        assert row["saved_j"] == pytest.approx(row["to_depth_j"] - row["spent_j"])
    assert pd.read_parquet(tmp_path / "store" / "stopped.parquet")["depth"].tolist() == [8] * len(rows)
    total = sum(row["saved_j"] for row in rows)
    assert f"{total:.4g} J more (estimated)" in str(saved_note(store))
