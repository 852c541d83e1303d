"""A stage that was killed ends with the weights of one that was not, byte for byte."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs
from rank_pool import RankPool
from stage_runs import STAGE, Digits, Killed, run_stage

from collapse_ray.artifact.store import Store
from collapse_ray.train.checkpoints import StageCheckpoints, checkpoints_of
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group, SoloGroup
from collapse_ray.train.spec import OptimizerSpec, TrainSpec

TRAIN = TrainSpec(
    steps=12,
    batch_size=32,
    precision="bf16",
    schedule="cosine",
    warmup_steps=3,
    optimizer=OptimizerSpec(lr=1e-2, weight_decay=0.01),
)
KILLED_BEFORE = 9
PRECISIONS = ("fp32", "bf16")
ZERO_STAGES = (0, 1, 2, 3)


def run_config(zero_stage: int, workers: int = 0) -> RunConfig:
    return RunConfig.model_validate(
        {"workers": workers, "zero_stage": zero_stage, "micro_batch_size": 8, "window_steps": 1, "checkpoint_every": 4}
    )


def weights(
    group: Group, digits: Digits, precision: str, zero_stage: int, store: Store, killed_before: int | None = None
) -> tuple[int, dict[str, bytes]]:
    """Number of steps taken and the final weights; none where the stage was killed."""
    train = TrainSpec.model_validate({**TRAIN.model_dump(), "precision": precision})
    run = run_config(zero_stage, group.world_size)
    try:
        result = run_stage(group, digits, digits.vae(), train, run, checkpoints=store, killed_before=killed_before)
    except Killed:
        return 0, {}
    return len(result.losses), {name: value.tobytes() for name, value in result.weights.items()}


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_resumed_weights_are_those_of_an_undisturbed_stage(
    digits: Digits, store: Store, precision: str, zero_stage: int
) -> None:
    group = SoloGroup()
    steps, undisturbed = weights(group, digits, precision, zero_stage, Store(f"{store.uri}-undisturbed"))
    assert (steps, len(undisturbed) > 0) == (12, True)
    weights(group, digits, precision, zero_stage, store, KILLED_BEFORE)
    assert weights(group, digits, precision, zero_stage, store) == (4, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_ranks_resume_too(
    two_ranks: RankPool, digits: Digits, store: Store, precision: str, zero_stage: int
) -> None:
    undisturbed = two_ranks.run(weights, digits, precision, zero_stage, Store(f"{store.uri}-undisturbed"))
    two_ranks.run(weights, digits, precision, zero_stage, store, KILLED_BEFORE)
    resumed = two_ranks.run(weights, digits, precision, zero_stage, store)
    assert [steps for steps, _ in undisturbed] == [12, 12]
    assert [steps for steps, _ in resumed] == [4, 4]
    assert [values for _, values in resumed] == [values for _, values in undisturbed]
    assert undisturbed[0][1] == undisturbed[1][1] != {}


@pytest.mark.slow
def test_another_number_of_ranks_starts_over(
    two_ranks: RankPool, digits: Digits, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    two_ranks.run(weights, digits, "bf16", 1, store, KILLED_BEFORE)
    with caplog.at_level(logging.WARNING):
        steps, _ = weights(SoloGroup(), digits, "bf16", 1, store)
    assert steps == 12
    assert caplog.messages == ["starting the stage over: its checkpoint is of w2-z1, and this run needs one of w1-z1"]


def test_a_checkpoint_without_its_commit_is_ignored(
    digits: Digits, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    weights(SoloGroup(), digits, "bf16", 0, store, KILLED_BEFORE)
    store.delete_folder(f"{checkpoints_of(STAGE)}/w1-z0.json")
    assert not store.list_documents(checkpoints_of(STAGE))
    assert weights(SoloGroup(), digits, "bf16", 0, store)[0] == 12
    assert caplog.messages == []


def test_a_half_written_checkpoint_leaves_the_one_before_in_use(digits: Digits, store: Store) -> None:
    weights(SoloGroup(), digits, "bf16", 0, store, KILLED_BEFORE)
    (Path(store.uri) / checkpoints_of(STAGE) / "w1-z0-12").mkdir()
    store.write_document(f"{checkpoints_of(STAGE)}/w1-z0-12/step/mp_rank_00_model_states.pt", b"half")
    assert weights(SoloGroup(), digits, "bf16", 0, store)[0] == 4


@pytest.mark.slow
def test_only_the_newest_checkpoint_is_kept(digits: Digits, store: Store) -> None:
    weights(SoloGroup(), digits, "fp32", 1, store, KILLED_BEFORE)
    folder = Path(store.uri) / checkpoints_of(STAGE)
    assert sorted(path.name for path in folder.iterdir()) == ["w1-z1-8", "w1-z1.json"]
    assert json.loads((folder / "w1-z1.json").read_text()) == {"folder": f"{checkpoints_of(STAGE)}/w1-z1-8"}


@pytest.mark.slow
def test_object_stores_hold_checkpoints(digits: Digits, store: Store, tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory", reason="needs the package fsspec")
    objects = Store.on(fs.PyFileSystem(fs.FSSpecHandler(memory.MemoryFileSystem())), f"/{tmp_path.name}")
    undisturbed = weights(SoloGroup(), digits, "bf16", 1, store)
    weights(SoloGroup(), digits, "bf16", 1, objects, KILLED_BEFORE)
    assert weights(SoloGroup(), digits, "bf16", 1, objects) == (4, undisturbed[1])


def test_there_is_none_at_first(store: Store) -> None:
    class Target:
        def save(self, folder: str, step: int) -> None:
            (Path(folder) / "step").write_text(str(step))

        def load(self, folder: str) -> int:
            return int((Path(folder) / "step").read_text())

    checkpoints = StageCheckpoints(store, STAGE, "w1-z0", SoloGroup())
    assert checkpoints.restore(Target()) == 0
    checkpoints.save(Target(), 3)
    checkpoints.save(Target(), 5)
    assert checkpoints.restore(Target()) == 5


LINEAGE = """
import os, signal, sys
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.execution import RunConfig

store, kill_at = sys.argv[1], int(sys.argv[2])
lineage = LineageSpec.model_validate(
    {"source": "digits", "family": {"kind": "vae", "hidden": [8]}, "regime": "replace", "depth": 1,
     "evaluate": {"metrics": ("real_test_loss",), "num_samples": 0}, "train": {"steps": 12, "batch_size": 32}}
)
run = RunConfig(store=store, window_steps=1, checkpoint_every=4)

def listener(event):
    if event.stage == "train" and event.done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    if event.stage == "train" and event.done:
        print(event.done)

(progress,) = run_plain(check_all([Experiment("killed", (lineage,), run)], Store(store)), run, listener)
print(progress.models[0].files[0].sha256)
"""


def run_lineage(store: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LINEAGE, store, str(kill_at)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_killed_process_goes_on_where_it_was_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    undisturbed = run_lineage(str(tmp_path / "undisturbed"), kill_at=-1)
    assert undisturbed.returncode == 0, undisturbed.stderr
    killed = run_lineage(str(tmp_path / "store"), kill_at=10)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "store" / "checkpoints").iterdir())
    resumed = run_lineage(str(tmp_path / "store"), kill_at=-1)
    assert resumed.stdout.split()[:-1] == ["9", "10", "11", "12"]
    assert resumed.stdout.split()[-1] == undisturbed.stdout.split()[-1]
    assert list((tmp_path / "store" / "checkpoints").iterdir()) == []
