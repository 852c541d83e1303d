"""A sweep on Ray Tune comes to what its lineages come to one after the other, whatever ends them."""

from pathlib import Path

import pytest
from plain_sweep import run_plain_sweep
from stores import records
from sweeps import STOP, gaussians, killing, nothing_is_left, run, same_results

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import read_indices
from collapse_ray.search.events import SweepEvent
from collapse_ray.search.outcome import read_sweep

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_every_artifact_is_computed_once_and_is_that_of_a_plain_run(tmp_path: Path) -> None:
    for name in ("ray", "plain"):
        (tmp_path / name).mkdir()
    sweep, events = gaussians(tmp_path / "ray"), list[SweepEvent]()
    outcome, marks = run(sweep, events.append)
    run_plain_sweep(gaussians(tmp_path / "plain"))
    assert [(lineage.state, lineage.reason) for lineage in outcome.lineages] == [("complete", None)] * 4
    assert outcome.state == "complete"
    assert same_results(tmp_path / "ray" / "store", tmp_path / "plain" / "store")
    assert len(marks.artifacts()) == len(set(marks.artifacts()))
    assert {of for of, *_ in marks.stages()} == {sweep.id}
    # Two seeds have two trunks; every other model is one of the four lineages' own.
    trained = [generation for _, stage, generation, _ in marks.stages() if stage == "train"]
    assert sorted(trained) == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert sum(event.reused and event.generation == 1 and event.stage is None for event in events) == 2
    document = read_sweep(Store(sweep.run.store), sweep)
    assert document is not None
    assert document.outcome == outcome
    nothing_is_left()


def test_the_same_sweep_again_computes_nothing(tmp_path: Path) -> None:
    sweep = gaussians(tmp_path)
    first, marks = run(sweep)
    before = marks.artifacts()
    again, marks = run(sweep)
    assert marks.artifacts() == before
    assert again == first
    # Without what Tune saved, our own records are enough.
    Store(sweep.run.store).delete_folder("ray-tune")
    anew, marks = run(sweep)
    assert marks.artifacts() == before
    assert {lineage.lineage: lineage.state for lineage in anew.lineages} == {
        lineage.lineage: lineage.state for lineage in first.lineages
    }


def test_a_killed_trial_process_changes_nothing(tmp_path: Path) -> None:
    for name in ("killed", "plain"):
        (tmp_path / name).mkdir()
    store = tmp_path / "killed" / "store"
    with killing("LineageTrial", lambda: len(records(store, "evaluation")) >= 3) as killed:
        outcome, marks = run(gaussians(tmp_path / "killed", depth=8))
    assert killed
    run_plain_sweep(gaussians(tmp_path / "plain", depth=8))
    assert [(lineage.state, lineage.reason) for lineage in outcome.lineages] == [("complete", None)] * 4
    assert same_results(store, tmp_path / "plain" / "store")
    # What was published is never computed again; only the stage in which the process died may be.
    artifacts = marks.artifacts()
    assert len(artifacts) - len(set(artifacts)) <= 1
    nothing_is_left()


@pytest.mark.parametrize(
    "scheduler",
    [
        "{kind: asha, grace_period: 1, reduction_factor: 2, metric: real_test_loss}",
        "{kind: median, grace_period: 1, min_lineages: 1, metric: real_test_loss}",
    ],
)
def test_what_a_scheduler_ends_is_not_sampled(scheduler: str, tmp_path: Path) -> None:
    sweep = gaussians(tmp_path, f"scheduler={scheduler}", depth=6)
    outcome, _ = run(sweep)
    stopped = {lineage.lineage: lineage for lineage in outcome.lineages if lineage.state == "stopped"}
    assert outcome.state == "complete"
    assert stopped
    indices = {f"{index['name']}-{index['fingerprint'][:8]}": index for index in read_indices(Store(sweep.run.store))}
    for name, lineage in stopped.items():
        index = indices[str(name)]
        assert lineage.reason == f"the scheduler {sweep.spec.scheduler.kind}" == index["stopped_by"]
        assert index["verdict"] == "stopped"
        assert len(index["generations"]) == lineage.generation < 6
        assert index["generations"][-1]["samples"] is None
    nothing_is_left()


def test_a_stop_rule_ends_lineages_where_it_ends_them_without_ray(tmp_path: Path) -> None:
    for name in ("ray", "plain"):
        (tmp_path / name).mkdir()
    outcome, _ = run(gaussians(tmp_path / "ray", **STOP))
    plain = run_plain_sweep(gaussians(tmp_path / "plain", **STOP)).outcome
    ends = {lineage.lineage: (lineage.state, lineage.generation) for lineage in outcome.lineages}
    assert ends == {lineage.lineage: (lineage.state, lineage.generation) for lineage in plain.lineages}
    assert "stopped" in {state for state, _ in ends.values()}
    assert same_results(tmp_path / "ray" / "store", tmp_path / "plain" / "store")
    for lineage in outcome.lineages:
        assert (lineage.verdicts["collapsing_variance"].status == "collapsed") == (lineage.state == "stopped")


def test_a_budget_ends_all_lineages_and_the_sweep(tmp_path: Path) -> None:
    outcome, _ = run(gaussians(tmp_path, "budget.generations=7", depth=6))
    assert outcome.state == "exhausted"
    assert 7 <= sum(lineage.generation for lineage in outcome.lineages) <= 7 + 3
    nothing_is_left()
