"""Run lineages: prepare the real data in the driver, then one resident group for all of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.data.reader import plain_stream
from collapse_ray.energy.marks import Marker, NoMarks, Work
from collapse_ray.lineage.index import lineage_fingerprint, lineage_id
from collapse_ray.lineage.loop import Decide, Progress, generations, go_on
from collapse_ray.lineage.prepare import Opened, Prepared, open_real, publish_real
from collapse_ray.lineage.progress import Listener, ignore
from collapse_ray.lineage.publisher import NO_CLAIMS, Claims
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.deepspeed_config import deepspeed_config
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group, SoloGroup
from collapse_ray.train.machine import check_training

if TYPE_CHECKING:
    from collapse_ray.lineage.stages import OpenStream

FINAL = (InvalidInput, StoreError, PlanMismatch)
"""Errors that would come again: no worker group is restarted for them."""


@dataclass(frozen=True)
class Task:
    """One lineage that can run: its real data is found and checked."""

    name: str
    lineage: LineageSpec
    opened: Opened
    decide: Decide = go_on

    def ready(self, store: Store, marker: Marker) -> "Ready":
        """The task with its real data published."""
        return Ready(self.name, self.lineage, publish_real(self.lineage, self.opened, store, marker), self.decide)


@dataclass(frozen=True)
class Ready:
    """One lineage whose real data is in the store."""

    name: str
    lineage: LineageSpec
    prepared: Prepared
    decide: Decide = go_on

    @property
    def id(self) -> str:
        """What results and the ledger call it."""
        return lineage_id(self.name, lineage_fingerprint(self.lineage, self.prepared))

    def absolute(self) -> "Ready":
        """The same lineage in any working directory: the family may read a checkpoint."""
        return replace(self, lineage=self.lineage.model_copy(update={"family": self.lineage.family.absolute()}))


class Marks(Protocol):
    """Where the driver and the workers get their markers from; picklable."""

    def of_driver(self) -> Marker: ...

    def of_worker(self, group: Group) -> Marker: ...


class Unmetered:
    """Nobody meters."""

    def of_driver(self) -> Marker:
        return NoMarks()

    def of_worker(self, group: Group) -> Marker:
        return NoMarks()


Metering = Callable[[], AbstractContextManager[Marks]]
"""Entered while Ray is up: starts what meters the lineages, and ends it with the last one."""

NOBODY = Unmetered()
UNMETERED: Metering = partial(nullcontext, NOBODY)


def check_all(experiments: Sequence[Experiment], store: Store) -> list[Task]:
    """Checks every lineage and its real data, before anything is started or computed.

    Raises:
        InvalidInput: a lineage cannot run as given.
        StoreError: the store cannot be written.
    """
    store.check_writable()
    store.clean_staging()
    tasks = []
    for experiment in experiments:
        for lineage in experiment.lineages:
            check_execution(lineage, experiment.run)
            tasks.append(Task(experiment.name, lineage, open_real(lineage)))
    return tasks


def check_execution(lineage: LineageSpec, run: RunConfig) -> None:
    """Refuses to train a lineage in a way that its workers cannot do.

    Raises:
        InvalidInput: DeepSpeed's configuration contradicts itself, or this machine, which trains, cannot do it.
    """
    if lineage.train is None:
        return
    configuration = deepspeed_config(lineage.train, run, max(1, run.workers))
    if run.address is None:  # else the workers are on other machines
        check_training(lineage.train, run, configuration)


def run_on_ray(
    tasks: Sequence[Task], run: RunConfig, listener: Listener = ignore, metering: Metering = UNMETERED
) -> None:
    """Publishes the real data, then runs lineages one after the other in one resident Ray Train group.

    Raises:
        InvalidInput: the cluster cannot hold the workers.
        GroupFailed: workers died more often than `run.retries` allows.
    """
    from collapse_ray.train.cluster import cluster
    from collapse_ray.train.worker import run_resident

    run = run.absolute()
    with cluster(run), metering() as marks:
        marker = marks.of_driver()
        ready = [task.ready(Store(run.store), marker).absolute() for task in tasks]
        with marker.working(Work("overhead", stage="driver")):
            run_resident(partial(_on_rank, ready, run, marks, _claims(run)), run, tasks[0].name, listener, FINAL)


def run_plain(
    tasks: Sequence[Task], run: RunConfig, listener: Listener = ignore, marks: Marks = NOBODY
) -> list[Progress]:
    """The same lineages in this process, without Ray, on the CPU."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    group = SoloGroup()
    ready = [task.ready(Store(run.store), marks.of_driver()) for task in tasks]
    marker = marks.of_worker(group)
    return [_last(follow(task, run, group, plain_stream, listener=listener, marker=marker)) for task in ready]


def _claims(run: RunConfig) -> Claims:
    """Where other jobs may work in the same store; a Ray that was started for this command has none."""
    if run.address is None or not run.workers:
        return NO_CLAIMS
    from collapse_ray.lineage.claims import claims_on

    return claims_on(Store(run.store))


def _on_rank(tasks: list[Ready], run: RunConfig, marks: Marks, claims: Claims, group: Group, post: Any) -> None:
    # Imported here: DeepSpeed reads its environment when it is imported, and the driver needs none of it.
    from collapse_ray.data.stream import ray_stream

    marker = marks.of_worker(group)
    for task in tasks:
        _last(follow(task, run, group, ray_stream, listener=post, marker=marker, claims=claims))


def _last(generations: Iterator[Progress]) -> Progress:
    *_, progress = generations
    return progress


def follow(
    task: Ready,
    run: RunConfig,
    group: Group,
    open_stream: "OpenStream",
    *,
    listener: Listener,
    marker: Marker,
    claims: Claims = NO_CLAIMS,
    shares_first: bool = False,
) -> Iterator[Progress]:
    """One lineage on one rank, a generation at a time; see `loop.generations` and `stages.PublishedStages`."""
    from collapse_ray.lineage.stages import PublishedStages

    stages = PublishedStages(
        name=task.name,
        lineage=task.lineage,
        prepared=task.prepared,
        run=run,
        store=Store(run.store),
        group=group,
        open_stream=open_stream,
        listener=listener,
        marker=marker,
        claims=claims,
        shares_first=shares_first,
    )
    with marker.working(Work("overhead", lineage=task.id, stage="orchestration")):
        yield from generations(task.lineage, task.prepared, stages, task.decide)
