"""A plan says exactly what a run then computes, and writes nothing."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from plain_sweep import run_plain_sweep, sweep_of

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.launch import Task, check_all, run_plain
from collapse_ray.lineage.prepare import open_real
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, load_experiment
from collapse_ray.search.plan.plan import make_plan
from collapse_ray.search.plan.spec_plan import SpecPlan
from collapse_ray.search.spec import Sweep

GAUSSIAN: dict[str, Any] = {
    "source": {"kind": "normal", "num_samples": 25},
    "family": "gaussian",
    "regime": "replace",
    "depth": 3,
    "evaluate": {"metrics": ["real_test_loss"], "num_samples": 16},
}


def experiment_of(folder: Path, *overrides: str, **keys: Any) -> Experiment:
    path = folder / "g.yaml"
    path.write_text(yaml.safe_dump({**GAUSSIAN, "run": {"store": str(folder / "store")}, **keys}))
    return load_experiment(path, list(overrides))


def computes(plan: SpecPlan) -> dict[str, int | None]:
    return {row.stage: row.num_to_compute for row in plan.rows}


def reuses(plan: SpecPlan) -> dict[str, int | None]:
    return {row.stage: row.num_to_reuse for row in plan.rows}


def planned(*specs: Experiment | Sweep) -> SpecPlan:
    (plan,) = make_plan(specs).specs
    return plan


def stored(folder: Path) -> Counter[str]:
    """Artifacts of a store by the stage that made them."""
    store = Store(str(folder / "store"))
    kinds = ("samples", "model", "evaluation")
    return Counter(store.record(kind, of).identity["stage"] for kind in kinds for of in store.fingerprints(kind))


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def run_all(experiment: Experiment) -> Counter[str]:
    """Runs lineages; how often each stage was computed, real data apart."""
    events: list[StageEvent] = []
    run_plain(check_all([experiment], Store(experiment.run.store)), experiment.run, events.append)
    return Counter(event.stage for event in events if event.artifact is not None and not event.reused)


def test_a_sweep_that_never_ran(tmp_path: Path) -> None:
    """Two regimes, two seeds, depth 4: generation 1 of a seed, with its samples and real data, is shared."""
    sweep = sweep_of(tmp_path, seeds=[0, 1])
    plan = planned(sweep)
    assert (plan.num_lineages, plan.chosen_as_it_goes, plan.depth) == (4, False, 4)
    assert computes(plan) == {"ingest": 4, "train": 14, "evaluate": 14, "generate": 10}
    assert reuses(plan) == {"ingest": 0, "train": 0, "evaluate": 0, "generate": 0}
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_what_is_left_of_a_sweep_is_what_it_then_computes(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, seeds=[0, 1])
    first, _, _, last = sweep.trials()
    for trial, depth in ((first, 3), (last, 1)):
        lineage = sweep.lineage(trial.point, trial.seed).model_copy(update={"depth": depth})
        run_plain([Task(sweep.lineage_name(trial.point), lineage, open_real(lineage))], sweep.run)
    before, files = stored(tmp_path), everything(tmp_path)
    plan = planned(sweep)
    assert everything(tmp_path) == files
    run_plain_sweep(sweep)
    assert computes(plan) == dict(stored(tmp_path) - before) | {"ingest": 0}
    # Each artifact that was there is needed, and was counted once.
    assert reuses(plan) == dict(before)
    left = planned(sweep)
    assert set(computes(left).values()) == {0}
    assert reuses(left) == dict(stored(tmp_path))
    assert left.cost.duration_s is not None
    assert left.cost.duration_s.high == 0


def test_what_two_files_share_is_counted_with_the_first(tmp_path: Path) -> None:
    replace = experiment_of(tmp_path)
    accumulate = experiment_of(tmp_path, "regime=accumulate", "name=other")
    first, second = make_plan([replace, accumulate]).specs
    assert computes(first) == {"ingest": 2, "train": 3, "evaluate": 3, "generate": 2}
    assert computes(second) == {"ingest": 0, "train": 2, "evaluate": 2, "generate": 1}


@pytest.mark.parametrize("regime", ["replace", "accumulate"])
def test_files_that_a_policy_removed_are_planned_again(tmp_path: Path, regime: str) -> None:
    """To go on, a lineage needs samples, whose models were removed as well: all the way back."""
    run = {"store": str(tmp_path / "store"), "keep": "records"}
    run_all(experiment_of(tmp_path, run=run, regime=regime))
    longer = experiment_of(tmp_path, run=run, regime=regime, depth=5)
    plan = planned(longer)
    computed = run_all(longer)
    assert {stage: number for stage, number in computes(plan).items() if number} == dict(computed)
    assert computed["train"] > 2


def test_training_that_goes_on_needs_the_model_before(tmp_path: Path) -> None:
    vae = {
        "source": {"kind": "normal", "num_samples": 25, "dimension": 2},
        "family": {"kind": "vae", "latent_size": 1, "hidden": [4]},
        "train": {"steps": 2, "batch_size": 8, "precision": "fp32", "init": "previous"},
        "depth": 1,
        "run": {"store": str(tmp_path / "store"), "keep": "records"},
    }
    run_all(experiment_of(tmp_path, **vae))
    longer = experiment_of(tmp_path, **{**vae, "depth": 2})
    plan = planned(longer)
    computed = run_all(longer)
    assert computes(plan) == {"ingest": 0, **computed}
    assert computed == {"train": 2, "evaluate": 1, "generate": 1}


def test_a_torn_artifact_is_planned_again_and_stays_where_it_is(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path)
    run_all(experiment)
    torn = sorted((tmp_path / "store" / "artifacts" / "model").iterdir())[0]
    (torn / "model.safetensors").write_bytes(b"torn")
    before = everything(tmp_path)
    plan = planned(experiment)
    assert everything(tmp_path) == before
    assert computes(plan)["train"] == run_all(experiment)["train"] == 1


def test_lineages_that_a_rule_stopped_have_nothing_left(tmp_path: Path) -> None:
    """The rule is asked as the run asks it, as far as the store knows the metrics; beyond, it is not foreseen."""
    verdict = {
        "kind": "collapsing_variance",
        "vector": {
            "metric": "variance_ratio",
            "worse": "lower",
            "scale": "ratio",
            "tolerance": 0.99,
            "threshold": 0.8,
            "replicate_stddev": 0.001,
        },
    }
    sweep = sweep_of(
        tmp_path,
        axes={"regime": ["replace"]},
        base={
            "source": {"kind": "normal", "num_samples": 12, "replicas": 100},
            "family": "gaussian",
            "evaluate": {"metrics": ["variance_ratio"], "num_samples": 200},
        },
        profile={"verdicts": [verdict]},
        stop={"verdicts": ["collapsing_variance"]},
        depth=8,
    )
    assert computes(planned(sweep))["train"] == 8
    (outcome,) = run_plain_sweep(sweep).outcome.lineages
    assert outcome.state == "stopped"
    assert 1 < outcome.generation < 8
    plan = planned(sweep)
    assert set(computes(plan).values()) == {0}
    assert reuses(plan)["train"] == outcome.generation


FRONTIER = {
    "base": {
        "source": {"kind": "normal", "num_samples": 25},
        "family": "gaussian",
        "regime": "mix",
        "evaluate": {"metrics": ["variance_ratio"], "num_samples": 200},
    },
    "axes": {"regime.real_fraction": {"low": 0, "high": 1}},
    "search": {
        "kind": "frontier",
        "axis": "regime.real_fraction",
        "verdict": "collapsing_variance",
        "precision": 0.3,
    },
    "depth": 3,
}


def test_a_search_that_chooses_is_bounded_by_its_budget(tmp_path: Path) -> None:
    plan = planned(sweep_of(tmp_path, **FRONTIER, budget={"trials": 10}))
    assert (plan.num_lineages, plan.chosen_as_it_goes) == (10, True)
    assert computes(plan) == {"ingest": 20, "train": 30, "evaluate": 30, "generate": 20}
    assert set(reuses(plan).values()) == {None}
    # 12 generations are four lineages to the depth, of up to 12 that end after their first.
    plan = planned(sweep_of(tmp_path, **FRONTIER, budget={"generations": 12}))
    assert plan.num_lineages == 12
    assert computes(plan)["train"] == 12
    plan = planned(sweep_of(tmp_path, **FRONTIER))
    assert (plan.num_lineages, plan.cost.duration_s, plan.elapsed_s) == (None, None, None)
    assert set(computes(plan).values()) == {None}
    assert "give budget.trials" in " ".join(plan.notes)


@pytest.mark.slow
def test_a_search_that_has_ended_has_nothing_left(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, **FRONTIER, budget={"trials": 8})
    run_plain_sweep(sweep)
    plan = planned(sweep)
    assert set(computes(plan).values()) == {0}
    assert "complete" in " ".join(plan.notes)


def test_what_a_lineage_takes_and_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = planned(sweep_of(tmp_path, "run.cpus_per_worker=3")).resources
    assert (found.cpus, found.gpus, found.available_cpus, found.at_once) == (3, 0, 8, 2)
    found = planned(sweep_of(tmp_path, "run.gpus_per_worker=0.5", "max_concurrent=3")).resources
    assert (found.gpus, found.available_gpus, found.at_once) == (0.5, 2, 3)
    plan = planned(sweep_of(tmp_path, "run.workers=3", "run.gpus_per_worker=1"))
    assert (plan.resources.at_once, plan.resources.fits, plan.elapsed_s) == (0, False, None)
    assert plan.cost.duration_s is not None
    assert plan.cost.gpu_hours is not None
    stages = sum(row.cost.duration_s.value for row in plan.rows if row.stage != "ingest" and row.cost.duration_s)
    assert plan.cost.gpu_hours.value == pytest.approx(3 * stages / 3600)
    # Lineages of one command follow each other; without workers the driver computes, whatever its CPUs.
    assert planned(experiment_of(tmp_path, "seeds=[0,1]")).resources.at_once == 1
    assert planned(experiment_of(tmp_path, "run.cpus_per_worker=64")).resources.at_once == 1
    assert not planned(experiment_of(tmp_path, "run.workers=16")).resources.fits
