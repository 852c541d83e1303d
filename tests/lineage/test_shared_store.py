"""Lineages that share a store: nobody computes what another one is at, or removes what another one begins with."""

from collections.abc import Callable
from pathlib import Path

import pytest
from plain_lineages import artifacts, gaussian
from plain_lineages import run as run_alone

from collapse_ray.artifact.store import Store
from collapse_ray.data.reader import plain_stream
from collapse_ray.energy.marks import NoMarks
from collapse_ray.lineage.index import read_indices
from collapse_ray.lineage.launch import check_all, follow
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.publisher import Claims, NoClaims
from collapse_ray.lineage.retention import retire_first
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup


class Granted:
    """Grants everything at the third asking, and does something before."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before = before
        self.asked: dict[str, int] = {}
        self.taken: list[str] = []
        self.released: list[str] = []

    def take(self, key: str) -> bool:
        self.asked[key] = self.asked.get(key, 0) + 1
        if self.asked[key] < 3:
            return False
        self._before()
        self.taken.append(key)
        return True

    def release(self, key: str) -> None:
        self.released.append(key)


def run(
    store: Path,
    lineage: LineageSpec,
    claims: Claims,
    *,
    fails: str | None = None,
    keep: str = "all",
    shares: bool = False,
) -> tuple[Progress, list[StageEvent]]:
    """A lineage beside others, which fails in the stage of that name."""
    execution, events = RunConfig(store=str(store), keep=keep), list[StageEvent]()

    def listen(event: StageEvent) -> None:
        events.append(event)
        if event.stage == fails:
            raise MemoryError

    (task,) = check_all([Experiment("test", (lineage,), execution)], Store(str(store)))
    ready, marker = task.ready(Store(str(store)), NoMarks()), NoMarks()
    *_, progress = follow(
        ready, execution, SoloGroup(), plain_stream, listener=listen, marker=marker, claims=claims, shares_first=shares
    )
    return progress, events


def test_what_is_granted_is_computed_once_and_given_back(tmp_path: Path) -> None:
    claims = Granted()
    _, events = run(tmp_path, gaussian(), claims)
    computed = [event.artifact for event in events if event.artifact and not event.reused]
    assert set(claims.asked.values()) == {3}
    assert claims.taken == claims.released == computed


def test_what_was_published_meanwhile_is_not_computed(tmp_path: Path) -> None:
    """Each time, the other process publishes the whole lineage just before the claim is granted."""
    claims = Granted(before=lambda: run_alone(tmp_path, gaussian()))
    _, events = run(tmp_path, gaussian(), claims)
    assert all(event.reused for event in events)
    assert len(claims.taken) == 1
    assert claims.released == claims.taken


def test_what_fails_is_given_back(tmp_path: Path) -> None:
    claims = Granted()
    with pytest.raises(MemoryError):
        run(tmp_path, gaussian(), claims, fails="evaluate")
    assert len(claims.taken) == 2
    assert claims.released == claims.taken


def test_what_others_begin_with_is_removed_after_all_have_ended(tmp_path: Path) -> None:
    progress, _ = run(tmp_path, gaussian(), NoClaims(), keep="records", shares=True)
    trunk = [f"model/{progress.models[0].fingerprint}", f"samples/{progress.samples[1].fingerprint}"]
    files = artifacts(tmp_path)
    assert all(files[key] for key in trunk)
    assert not files[f"model/{progress.models[1].fingerprint}"]
    (index,) = read_indices(Store(str(tmp_path)))
    for keep_last, kept in ((None, True), (3, True), (2, False), (0, False)):
        retire_first(Store(str(tmp_path)), keep_last, index)
        assert [bool(artifacts(tmp_path)[key]) for key in trunk] == [kept, kept]
    _, events = run(tmp_path, gaussian(regime="accumulate"), NoClaims())
    assert events[0].reused, "its record is enough to begin with"
