"""A resident group of Ray Train workers: what comes out does not depend on how it was executed or disturbed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import SPEC, metrics, records, shards
from sweeps import killing

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.launch import check_all, run_on_ray
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, LineageSpec, load_experiment
from collapse_ray.train.execution import RunConfig

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def run(
    lineage: LineageSpec, store: Path, listener: Callable[[StageEvent], None] = lambda event: None, **settings: object
) -> None:
    execution = RunConfig.model_validate({"store": str(store), "cpus_per_worker": 0.5, "window_steps": 10, **settings})
    tasks = check_all([Experiment("digits", (lineage,), execution)], Store(str(store)))
    run_on_ray(tasks, execution, listener)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The store of a lineage that two workers ran in peace."""
    store = tmp_path_factory.mktemp("undisturbed")
    spec = store / "spec.yaml"
    spec.write_text(SPEC)
    run(load_experiment(spec, []).lineages[0], store, workers=2)
    return store


@pytest.mark.parametrize("workers", [1, 3])
def test_shards_do_not_depend_on_the_number_of_workers(
    workers: int, undisturbed: Path, tmp_path: Path, lineage: LineageSpec
) -> None:
    """The same generators, sampled again by another number of workers, give the same bytes."""
    store = tmp_path / "store"
    shutil.copytree(undisturbed, store)
    synthetic = [f for f, record in records(store, "samples").items() if record.identity["stage"] == "generate"]
    assert len(synthetic) == 2
    for fingerprint in synthetic:
        shutil.rmtree(store / "artifacts" / "samples" / fingerprint)
    run(lineage, store, workers=workers)
    assert {records(store, "samples")[f].realised["world_size"] for f in synthetic} == {workers}
    assert shards(store) == shards(undisturbed)


@pytest.mark.parametrize("stage", ["train", "generate"])
def test_a_killed_worker_changes_nothing(stage: str, undisturbed: Path, tmp_path: Path, lineage: LineageSpec) -> None:
    """SIGKILL in the middle of generation 2: a new group resumes, and no published stage is computed again."""
    store = tmp_path / "store"
    computed = list[tuple[int, str]]()

    def listener(event: StageEvent) -> None:
        if event.artifact is not None and not event.reused:
            computed.append((event.generation, event.stage))

    with killing("RayTrainWorker", lambda: is_under_way(store, stage)) as killed:
        run(lineage, store, listener, workers=2, checkpoint_every=20)
    assert killed
    assert shards(store) == shards(undisturbed)
    assert metrics(store) == metrics(undisturbed)
    again = {one for one in computed if computed.count(one) > 1}
    assert again == {(2, stage)}


def is_under_way(store: Path, stage: str) -> bool:
    """Generation 2 is in the middle of a stage: its first checkpoint, or its first shards, are there."""
    if stage == "train":
        return len(records(store, "evaluation")) == 1 and any((store / "checkpoints").glob("*/*.json"))
    return len(records(store, "evaluation")) == 2 and any((store / "staging").glob("*/shard-*"))
