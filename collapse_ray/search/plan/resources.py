"""What lineages take, against what there is."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from collapse_ray.search.places import Node, Places
from collapse_ray.train.execution import RunConfig


@dataclass(frozen=True)
class Resources:
    """Of one command."""

    workers: int
    """Of a lineage; 0 where the driver or the trial computes itself."""
    cpus: float
    """That one lineage holds."""
    gpus: float
    data_cpus: int
    """Kept free for Ray Data."""
    where: str
    """`this machine`, or the address of a cluster."""
    num_nodes: int
    available_cpus: float
    available_gpus: float
    at_once: int
    """Lineages that run side by side; 0 where not one fits."""

    @property
    def fits(self) -> bool:
        return self.at_once > 0


def nodes_for(run: RunConfig) -> Sequence[Node]:
    """The nodes of the cluster at `run.address`, else this machine.

    Raises:
        InvalidInput: nothing answers at the address.
    """
    if run.address is None:
        return [{"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}]
    from collapse_ray.search.capacity import nodes_at  # noqa: PLC0415 (Ray, which planning for this machine needs not)

    return nodes_at(run.address)


def resources(run: RunConfig, nodes: Sequence[Node], *, is_sweep: bool, data_cpus: int, limit: int | None) -> Resources:
    """What a command will hold, and how many of its lineages run side by side.

    Args:
        run: what one lineage takes.
        nodes: what there is.
        is_sweep: its lineages may run side by side; those of `collapse run` follow each other.
        data_cpus: that Ray Data's read tasks need.
        limit: the most lineages that are asked for.
    """
    workers = max(1, run.workers)
    # Ray starts on this machine with as many CPUs as it is told, those of the read tasks on top.
    spare = data_cpus if run.address is None else 0
    told = [{**node, "CPU": node.get("CPU", 0.0) + spare} for node in nodes]
    places = max(0, Places(workers, run.cpus_per_worker, run.gpus_per_worker, data_cpus).on(told))
    available_gpus = sum(node.get("GPU", 0.0) for node in nodes)
    if not is_sweep and not run.workers:  # the driver computes, whatever CPUs there are
        places = int(run.num_gpus <= available_gpus)
    at_once = min(places, (limit or math.inf) if is_sweep else 1)
    return Resources(
        workers=run.workers,
        cpus=workers * run.cpus_per_worker,
        gpus=run.num_gpus,
        data_cpus=data_cpus,
        where="this machine" if run.address is None else run.address,
        num_nodes=len(nodes),
        available_cpus=sum(node.get("CPU", 0.0) for node in nodes),
        available_gpus=available_gpus,
        at_once=int(at_once),
    )
