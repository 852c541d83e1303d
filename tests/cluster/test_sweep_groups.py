"""Trials that hold a worker group of Ray Train: ends in order, kills, and nothing left."""

from pathlib import Path

import pytest
from plain_sweep import run_plain_sweep
from stores import records
from sweeps import gaussians, killing, nothing_is_left, run, same_results

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import id_of, read_indices

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(900)]

GROUPS = ("run.workers=1", "max_concurrent=2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the sweep that the others disturb."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_plain_sweep(gaussians(folder, seeds=[0], depth=5))
    return folder / "store"


@pytest.mark.parametrize("process", ["RayTrainWorker", "LineageTrial"])
def test_a_kill_changes_nothing_and_leaves_nothing(process: str, undisturbed: Path, tmp_path: Path) -> None:
    """The second one is that of a trial, whose group has no owner from then on."""
    store = tmp_path / "store"
    with killing(process, lambda: len(records(store, "evaluation")) >= 2) as killed:
        outcome, marks = run(gaussians(tmp_path, *GROUPS, seeds=[0], depth=5))
    assert killed
    assert [(lineage.state, lineage.reason) for lineage in outcome.lineages] == [("complete", None)] * 2
    assert same_results(store, undisturbed)
    assert len(marks.artifacts()) - len(set(marks.artifacts())) <= 1
    nothing_is_left()


def test_what_the_budget_ends_is_not_sampled_and_leaves_nothing(tmp_path: Path) -> None:
    sweep = gaussians(tmp_path, *GROUPS, "budget.generations=6", seeds=[0], depth=6)
    outcome, _ = run(sweep)
    assert outcome.state == "exhausted"
    stopped = {lineage.lineage for lineage in outcome.lineages if lineage.state == "stopped"}
    assert stopped
    for index in read_indices(Store(sweep.run.store)):
        if id_of(index) in stopped:
            assert index["verdict"] == "stopped"
            assert index["generations"][-1]["samples"] is None
    nothing_is_left()
