"""What a lineage says to the energy ledger: every stage that is computed, once, with the artifact that it makes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from plain_lineages import gaussian, records

from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.energy.marks import Marker, Work
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.report.results import load
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group


class Recording:
    """A marker that remembers the work of each block, and the block around it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Work, Work | None]] = []
        self._open: list[Work] = []

    def of_driver(self) -> Marker:
        return self

    def of_worker(self, group: Group) -> Marker:
        return self

    def working(self, work: Work) -> AbstractContextManager[None]:
        return self._block(work)

    @contextmanager
    def _block(self, work: Work) -> Iterator[None]:
        self.seen.append((work, self._open[-1] if self._open else None))
        self._open.append(work)
        try:
            yield
        finally:
            assert self._open.pop() == work

    @property
    def stages(self) -> list[Work]:
        return [work for work, _ in self.seen if work.kind == "stage"]


def run(store: Path, lineage: LineageSpec, **settings: object) -> Recording:
    execution, marks = RunConfig(store=str(store), **settings), Recording()  # type: ignore[arg-type]  # by name
    run_plain(check_all([Experiment("test", (lineage,), execution)], Store(str(store))), execution, marks=marks)
    assert marks._open == []
    return marks


def test_every_artifact_has_one_stage_and_the_lineages_name(tmp_path: Path) -> None:
    marks = run(tmp_path, gaussian(depth=2))
    assert sorted(f"{work.artifact}" for work in marks.stages) == sorted(key.split("/")[1] for key in records(tmp_path))
    assert [(work.stage, work.generation) for work in marks.stages] == [
        ("ingest", 0),
        ("ingest", 0),
        ("train", 1),
        ("evaluate", 1),
        ("generate", 1),
        ("train", 2),
        ("evaluate", 2),
    ]
    (name,) = set(load(Store(str(tmp_path)))["lineage"])
    assert {work.lineage for work in marks.stages if work.generation} == {name}


def test_stages_lie_inside_the_lineages_overhead(tmp_path: Path) -> None:
    marks = run(tmp_path, gaussian(depth=1))
    around = {around for work, around in marks.seen if work.generation}
    assert [(work.kind, work.stage) for work in around if work] == [("overhead", "orchestration")]


def test_what_is_published_costs_nothing_again(tmp_path: Path) -> None:
    run(tmp_path, gaussian(depth=1))
    assert [(work.stage, work.generation) for work in run(tmp_path, gaussian(depth=2)).stages] == [
        ("generate", 1),
        ("train", 2),
        ("evaluate", 2),
    ]


@pytest.mark.slow
def test_checkpoints_are_overhead_inside_training(tmp_path: Path) -> None:
    fields = {"source": "digits", "family": "vae", "regime": "replace", "depth": 1, "train": {"steps": 4}}
    lineage = validate(LineageSpec, {**fields, "evaluate": {"num_samples": 0, "metrics": []}}, "test")
    marks = run(tmp_path, lineage, checkpoint_every=2)
    saved = [(work, around) for work, around in marks.seen if work.stage == "checkpoint"]
    assert saved
    assert {(work.kind, around and around.stage) for work, around in saved} == {("overhead", "train")}
    assert {work.artifact for work, _ in saved} == {work.artifact for work in marks.stages if work.stage == "train"}
