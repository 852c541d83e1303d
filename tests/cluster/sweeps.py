"""Sweeps of Gaussians on a cluster, what they computed, and what they left."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from plain_sweep import sweep_of
from ray import cloudpickle
from ray.util.state import list_actors, list_placement_groups
from stores import metrics, records

from collapse_ray.artifact.record import Kind
from collapse_ray.energy.marks import Marker, Work
from collapse_ray.lineage.launch import Metering
from collapse_ray.search.events import SweepEvent, ignore
from collapse_ray.search.outcome import SweepOutcome
from collapse_ray.search.runner import run_sweep
from collapse_ray.search.spec import Sweep
from collapse_ray.train.group import Group

KINDS: tuple[Kind, ...] = ("samples", "model", "evaluation")

BASE = {
    "source": {"kind": "normal", "num_samples": 50, "dimension": 2},
    "family": "gaussian",
    "generate": {"block_size": 16},
    "evaluate": {"num_samples": 32, "metrics": ["real_test_loss", "variance_ratio"]},
}
STOP: dict[str, Any] = {
    "profile": {
        "verdicts": [
            {
                "kind": "collapsing_variance",
                "vector": {
                    "metric": "variance_ratio",
                    "worse": "lower",
                    "scale": "ratio",
                    "tolerance": 0.95,
                    "threshold": 0.9,
                    "replicate_stddev": 1e-6,
                },
            }
        ]
    },
    "stop": {"verdicts": ["collapsing_variance"]},
    "base": {
        "source": {"kind": "normal", "num_samples": 10, "dimension": 2},
        "family": "gaussian",
        "generate": {"block_size": 16},
        "evaluate": {"num_samples": 32, "metrics": ["variance_ratio"]},
    },
    "axes": {"regime": ["replace", "accumulate"]},
    "depth": 8,
}
"""Keys of a sweep that ends lineages as soon as their variance has visibly fallen."""


def gaussians(folder: Path, *overrides: str, **keys: Any) -> Sweep:
    """Two real fractions and two seeds, unless told otherwise."""
    given = {
        "base": {**BASE, "regime": "mix"},
        "axes": {"regime.real_fraction": [0.1, 0.9]},
        "seeds": [0, 1],
        "depth": 3,
        **keys,
    }
    return sweep_of(folder, "run.cpus_per_worker=0.5", *overrides, **given)


@dataclass(frozen=True)
class FileMarks:
    """Writes every stage that a process begins to compute into a file."""

    path: Path

    def of_driver(self) -> Marker:
        return self

    def of_worker(self, group: Group) -> Marker:
        return self

    def working(self, work: Work) -> AbstractContextManager[None]:
        if work.kind == "stage":
            line = json.dumps([work.sweep, work.stage, work.generation, work.artifact])
            with self.path.open("a") as file:
                file.write(f"{line}\n")
        return nullcontext()

    def metering(self) -> Metering:
        return partial(nullcontext, self)

    def stages(self) -> list[tuple[str, str, int, str]]:
        """(sweep, stage, generation, artifact) of each beginning, in order."""
        return [tuple(json.loads(line)) for line in self.path.read_text().splitlines()]

    def artifacts(self) -> list[str]:
        return [artifact for *_, artifact in self.stages()]


# Ray's processes cannot import what lies beside a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def run(sweep: Sweep, on_event: Callable[[SweepEvent], None] = ignore) -> tuple[SweepOutcome, FileMarks]:
    """Runs a sweep on the session's cluster."""
    marks = FileMarks(Path(sweep.run.store).with_suffix(".marks"))
    return run_sweep(sweep, on_event, marks.metering()), marks


def same_results(one: Path, other: Path) -> bool:
    """Whether two stores hold the same artifacts with the same metrics."""
    same = all(records(one, kind).keys() == records(other, kind).keys() for kind in KINDS)
    return same and metrics(one) == metrics(other)


# What is left ---------------------------------------------------------------------------------------


def placement_groups() -> list[str]:
    """Those of this job that hold resources, or wait for them."""
    filters: Any = [("creator_job_id", "=", ray.get_runtime_context().get_job_id()), ("state", "!=", "REMOVED")]
    groups: list[Any] = list_placement_groups(address(), filters=filters, limit=1000)
    return [group.placement_group_id for group in groups]


def actors() -> list[str]:
    """Class names of the living actors of this job; those of Ray's own libraries stay as long as the cluster."""
    filters: Any = [("job_id", "=", ray.get_runtime_context().get_job_id()), ("state", "!=", "DEAD")]
    found: list[Any] = list_actors(address(), filters=filters, limit=1000)
    return sorted(actor.class_name for actor in found if actor.class_name not in (*OF_RAY, *OF_ALL_JOBS))


OF_RAY = ("_AutoscalingCoordinatorActor", "_StatsActor", "PlacementGroupCleaner")
"""Ray Data keeps two of them; Train's cleaner goes once it has seen its controller's end."""
OF_ALL_JOBS = ("ClaimsActor",)
"""It is not one sweep's, and ends by itself (test_claims.py)."""


def address() -> str:
    return ray.get_runtime_context().gcs_address


def nothing_is_left(within_s: float = 60.0) -> None:
    """All resources are free, and no placement group nor actor of a sweep lives.

    Raises:
        AssertionError: says what is left.
    """
    until_s = time.monotonic() + within_s
    while left := [*placement_groups(), *actors(), *held()]:
        assert time.monotonic() < until_s, left
        time.sleep(0.2)


def held() -> list[str]:
    """CPUs and GPUs that are not free."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return [
        f"{total[name] - free.get(name, 0):g} {name}" for name in ("CPU", "GPU") if total.get(name) != free.get(name)
    ]


# Killing ---------------------------------------------------------------------------------------------


@contextmanager
def killing(process: str, when: Callable[[], bool]) -> Iterator[list[int]]:
    """Kills one process with a name like this as soon as a condition holds; gives the list of those it killed."""
    over, killed = threading.Event(), list[int]()

    def watch() -> None:
        while not over.wait(0.002):
            if when() and (pids := processes(process)):
                os.kill(pids[0], 9)
                killed.append(pids[0])
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def processes(name: str) -> list[int]:
    """Processes of this test's cluster that Ray gave a title like this."""
    mine = psutil.Process().children(recursive=True)
    return [process.pid for process in mine if _is_called(process, name)]


def _is_called(process: psutil.Process, name: str) -> bool:
    try:
        return any(name in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False
