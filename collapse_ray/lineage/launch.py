"""Run lineages: prepare the real data in the driver, then one resident group for all of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.data.reader import plain_stream
from collapse_ray.lineage.loop import Progress, Stages, run_lineage
from collapse_ray.lineage.prepare import Prepared, prepare
from collapse_ray.lineage.progress import Listener, ignore
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.deepspeed_config import deepspeed_config
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group, SoloGroup
from collapse_ray.train.machine import check_training
from collapse_ray.train.spec import TrainSpec

FINAL = (InvalidInput, StoreError, PlanMismatch)
"""Errors that would come again: no worker group is restarted for them."""


@dataclass(frozen=True)
class Task:
    """One lineage that is ready to run."""

    name: str
    lineage: LineageSpec
    prepared: Prepared

    def absolute(self) -> "Task":
        """The same task in any working directory: the real data is prepared, the family may read a checkpoint."""
        return replace(self, lineage=self.lineage.model_copy(update={"family": self.lineage.family.absolute()}))


def prepare_all(experiments: Sequence[Experiment], store: Store) -> list[Task]:
    """Checks every lineage and publishes its real data, before any worker is started.

    Raises:
        InvalidInput: a lineage cannot run as given.
        StoreError: the store cannot be written.
    """
    store.check_writable()
    store.clean_staging()
    tasks = []
    for experiment in experiments:
        for lineage in experiment.lineages:
            if lineage.train is not None:
                _check_training(lineage.train, experiment.run)
            tasks.append(Task(experiment.name, lineage, prepare(lineage, store)))
    return tasks


def _check_training(train: TrainSpec, run: RunConfig) -> None:
    configuration = deepspeed_config(train, run, max(1, run.workers))
    if run.address is None:  # else the workers are on other machines
        check_training(train, run, configuration)


def run_on_ray(tasks: Sequence[Task], run: RunConfig, listener: Listener = ignore) -> None:
    """Runs lineages one after the other in one resident Ray Train group.

    Raises:
        InvalidInput: the cluster cannot hold the workers.
        GroupFailed: workers died more often than `run.retries` allows.
    """
    from collapse_ray.train.cluster import cluster
    from collapse_ray.train.worker import run_resident

    run = run.absolute()
    with cluster(run):
        body = partial(_on_rank, [task.absolute() for task in tasks], run)
        run_resident(body, run, tasks[0].name, listener, FINAL)


def run_plain(tasks: Sequence[Task], run: RunConfig, listener: Listener = ignore) -> list[Progress]:
    """The same lineages in this process, without Ray, on the CPU."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    group = SoloGroup()
    return [
        run_lineage(task.lineage, task.prepared, _stages(task, run, group, plain_stream, listener)) for task in tasks
    ]


def _on_rank(tasks: list[Task], run: RunConfig, group: Group, post: Any) -> None:
    # Imported here: DeepSpeed reads its environment when it is imported, and the driver needs none of it.
    from collapse_ray.data.stream import ray_stream

    for task in tasks:
        run_lineage(task.lineage, task.prepared, _stages(task, run, group, ray_stream, post))


def _stages(task: Task, run: RunConfig, group: Group, open_stream: Any, listener: Listener) -> Stages:
    from collapse_ray.lineage.stages import PublishedStages

    return PublishedStages(
        name=task.name,
        lineage=task.lineage,
        prepared=task.prepared,
        run=run,
        store=Store(run.store),
        group=group,
        open_stream=open_stream,
        listener=listener,
    )
