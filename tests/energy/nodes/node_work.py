"""What workers on a simulated node do: stages on fake GPUs, with the times that tell what these used."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from fake_gpus import Gpu

from collapse_ray.energy.marks import Work
from collapse_ray.ledger.marker import RayMarker


@dataclass(frozen=True)
class Plan:
    """One lineage on some GPUs of a node: (generation, stage, seconds), one after the other."""

    node: str
    gpus: tuple[Gpu, ...]
    lineage: str
    stages: tuple[tuple[int, str, float], ...]
    diary: Path | None = None
    """Gets the process identifier and the time of each begin: for workers that do not live to return them."""


@dataclass(frozen=True)
class Stage:
    """A stage that was done; its mark lies between the outer and the inner times."""

    node: str
    gpu: Gpu
    lineage: str
    generation: int
    stage: str
    before_s: float
    begin_s: float
    end_s: float
    after_s: float

    @property
    def least_j(self) -> float:
        return self.gpu.energy_j(self.begin_s, self.end_s)

    @property
    def most_j(self) -> float:
        return self.gpu.energy_j(self.before_s, self.after_s)


@ray.remote(num_cpus=0.1, max_retries=0)
def work(key: str, plan: Plan) -> list[Stage]:
    """Does what is planned, on the node that it runs on."""
    marker = RayMarker(key, gpus=tuple(gpu.uuid for gpu in plan.gpus), share=None, cpus=0.1)
    time.sleep(1.0)  # the meter is found meanwhile
    done = []
    for generation, stage, duration_s in plan.stages:
        before_s = time.monotonic()
        with marker.working(Work("stage", "nodes", plan.lineage, generation, stage)):
            begin_s = time.monotonic()
            _note(plan.diary, begin_s)
            time.sleep(duration_s)
            end_s = time.monotonic()
        times = (before_s, begin_s, end_s, time.monotonic())
        done += [Stage(plan.node, gpu, plan.lineage, generation, stage, *times) for gpu in plan.gpus]
    return done


@ray.remote(num_cpus=0.1, max_retries=0)
def seconds_per_mark(key: str, num: int) -> Sequence[float]:
    """How long entering and leaving takes."""
    marker = RayMarker(key, gpus=("GPU-none",), share=None, cpus=0.1)
    costs = []
    for generation in range(num):
        before_s = time.monotonic()
        with marker.working(Work("stage", "nodes", "blocked", generation, "train")):
            entered_s = time.monotonic()
        costs += [entered_s - before_s, time.monotonic() - entered_s]
        time.sleep(0.02)
    return costs


def _note(diary: Path | None, begin_s: float) -> None:
    if diary is not None:
        with diary.open("a") as file:
            file.write(f"{os.getpid()} {begin_s}\n")
