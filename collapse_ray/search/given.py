"""A lineage as a trial gets it, and its generations as reports."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from collapse_ray.energy.marks import Marker, Work
from collapse_ray.lineage.launch import Marks, Ready, follow
from collapse_ray.lineage.progress import Listener, StageEvent
from collapse_ray.lineage.publisher import Claims
from collapse_ray.search.report import Judge, Report
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group

if TYPE_CHECKING:
    from collapse_ray.lineage.stages import OpenStream


@dataclass(frozen=True, repr=False)
class Given:
    """One lineage whose real data is in the store; picklable."""

    ready: Ready
    id: str
    """As results and the ledger name it."""
    trunk: str
    """Fingerprint of its generation 1."""

    def __repr__(self) -> str:
        """Short: trackers keep it as a parameter of the trial."""
        return self.id


@dataclass(frozen=True)
class InSweep:
    """A marker whose marks name the sweep."""

    marker: Marker
    sweep: str

    def working(self, work: Work) -> AbstractContextManager[None]:
        return self.marker.working(replace(work, sweep=self.sweep))


@dataclass(frozen=True)
class Common:
    """What all trials of a sweep are given; picklable."""

    sweep: str
    """Its id."""
    run: RunConfig
    judge: Judge
    marks: Marks
    claims: Claims
    board: Any
    """Handle of a `train.board.Board`, where stages are noted for the driver as (key, generation, stage, reused).

    Plain values: the board's process would import all that a class of ours is made of.
    """


def reports(
    given: Given, common: Common, group: Group, open_stream: "OpenStream", listener: Listener
) -> Iterator[Report]:
    """The lineage on one rank of a group, a generation at a time: the next one begins when it is asked for."""
    computed = False

    def listen(event: StageEvent) -> None:
        nonlocal computed
        computed = computed or not event.reused
        listener(event)

    seed = given.ready.lineage.seed
    ready = replace(given.ready, decide=partial(common.judge.decide, seed))
    marker = InSweep(common.marks.of_worker(group), common.sweep)
    begin_s = time.monotonic()
    for progress in follow(
        ready,
        common.run,
        group,
        open_stream,
        listener=listen,
        marker=marker,
        claims=common.claims,
        shares_first=True,
    ):
        yield common.judge.report(seed, progress, time.monotonic() - begin_s, reused=not computed)
        computed, begin_s = False, time.monotonic()
