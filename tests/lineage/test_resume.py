"""A lineage that is run again computes what its store has not, and nothing else."""

import shutil
from functools import cache
from pathlib import Path

import pytest
from finished_lineage import LINEAGE, STAGES, changed, role
from plain_lineages import artifacts, gaussian, records, run


def test_the_same_again_computes_nothing_and_writes_no_artifact(store: Path) -> None:
    before = changed(store), records(store)
    again = run(store, LINEAGE)
    assert again.computed == []
    assert [event for event in again.events if not event.reused] == []
    assert (changed(store), records(store)) == before
    assert again.progress.verdict == "complete"


@cache
def expected_after_loss() -> dict[str, list[tuple[str, int]]]:
    """Role of an artifact -> the stages that must run again when it is lost; real data is no stage of the loop."""
    roles = {f"{kind} {generation}": [(stage, generation)] for stage, generation in STAGES for kind in [KINDS[stage]]}
    return {**roles, "real train": [], "real holdout": []}


KINDS = {"train": "model", "evaluate": "evaluation", "generate": "samples"}


@pytest.mark.parametrize("lost", expected_after_loss())
def test_a_lost_artifact_alone_is_made_again_from_the_same_bytes(lost: str, store: Path) -> None:
    before, written = records(store), changed(store)
    contents = artifacts(store)
    (key,) = [key for key, found in before.items() if role(found) == lost]
    shutil.rmtree(store / "artifacts" / key)
    assert run(store, LINEAGE).computed == expected_after_loss()[lost]
    assert artifacts(store) == contents
    assert records(store)[key].metrics == before[key].metrics
    assert {path for path, at in changed(store).items() if written[path] != at} == {
        str(store / "artifacts" / key / name) for name in ["record.json", *contents[key]]
    }


def test_generation_1_is_shared_between_regimes(store: Path) -> None:
    mix = run(store, gaussian(regime={"kind": "mix", "real_fraction": 0.5}))
    assert mix.computed == [stage for stage in STAGES if stage not in {("train", 1), ("evaluate", 1)}]
    models = [found for found in records(store).values() if found.kind == "model"]
    assert sorted(found.identity["generation"] for found in models) == [1, 2, 2, 3, 3]


def test_another_seed_shares_nothing(store: Path) -> None:
    before = artifacts(store)
    other = run(store, gaussian(seed=1))
    assert other.computed == STAGES
    assert len(artifacts(store)) == 2 * len(before)


def test_a_deeper_lineage_continues(tmp_path: Path, finished: Path) -> None:
    run(tmp_path, gaussian(depth=1))
    assert run(tmp_path, LINEAGE).computed == STAGES[2:]
    assert artifacts(tmp_path) == artifacts(finished)


def test_a_shallower_lineage_is_a_part_of_the_deeper_one(store: Path) -> None:
    (index,) = (store / "lineages").iterdir()
    content = index.read_bytes()
    assert run(store, gaussian(depth=2)).computed == []
    assert index.read_bytes() == content


def test_an_evaluation_may_do_without_samples(tmp_path: Path) -> None:
    """Only the held-out rows are scored, and there is nothing to look at."""
    ran = run(tmp_path, gaussian(evaluate={"num_samples": 0}))
    for evaluation in ran.progress.evaluations:
        assert evaluation.files == ()
        assert evaluation.metrics["real_test_loss"] is not None
        assert evaluation.metrics["variance_ratio"] is None
