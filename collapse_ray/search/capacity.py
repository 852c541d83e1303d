"""How many lineages a cluster holds at once. A Ray seam."""

import math
import os
import time

import ray

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.places import Node, Places
from collapse_ray.train.cluster import connect
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.machine import check_resource

RESOURCES_S = 10.0
"""Between two looks at what the cluster holds."""


class Capacity:
    """How many lineages run at the same time: as many as the nodes hold beside the read tasks of Ray Data.

    Args:
        run: what one lineage takes.
        data_cpus: that are kept free.
        limit: the most that are asked for.
    """

    def __init__(self, run: RunConfig, data_cpus: int, limit: int | None) -> None:
        self._workers = max(1, run.workers)
        self._cpus, self._gpus = run.cpus_per_worker, run.gpus_per_worker
        self._data_cpus, self._limit = data_cpus, limit or math.inf
        self._looked_s, self._num = -math.inf, 0

    @property
    def num_cpus_here(self) -> float:
        """What Ray is started with on this machine."""
        cpus = self._workers * self._cpus
        num = min(self._limit, len(os.sched_getaffinity(0)) // cpus)
        return max(1, num) * cpus + self._data_cpus

    def check_machine(self) -> None:
        """Refuses what could not run a single lineage on this machine, before Ray is started on it.

        Raises:
            InvalidInput: says what was asked and what there is.
        """
        cpus = self._workers * self._cpus
        check_resource("CPU", cpus, len(os.sched_getaffinity(0)), "run.cpus_per_worker", "this machine")

    def check(self) -> None:
        """The same on the cluster.

        Raises:
            InvalidInput: says what was asked and what there is.
        """
        total = ray.cluster_resources()
        cpus = self._workers * self._cpus + self._data_cpus
        check_resource("CPU", cpus, total.get("CPU", 0), "run.cpus_per_worker or run.data_cpus", "the cluster")
        gpus = self._workers * self._gpus
        check_resource("GPU", gpus, total.get("GPU", 0), "run.gpus_per_worker", "the cluster")
        if not self.look():
            raise InvalidInput(
                f"no lineage fits on the cluster's nodes: run.workers={self._workers} of run.cpus_per_worker="
                f"{self._cpus:g} and run.gpus_per_worker={self._gpus:g}, and run.data_cpus={self._data_cpus} beside "
                "them; a worker lies on one node, and a share of a GPU on one GPU: lower one of these"
            )

    def __call__(self) -> int:
        """Counted again now and then: nodes come and go."""
        if time.monotonic() - self._looked_s > RESOURCES_S:
            self._num = max(1, self.look())
            self._looked_s = time.monotonic()
        return self._num

    def look(self) -> int:
        """Counted now."""
        places = Places(self._workers, self._cpus, self._gpus, self._data_cpus)
        return int(min(places.on(living_nodes()), self._limit))


def living_nodes() -> list[Node]:
    """Resources of each node of the connected cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def nodes_at(address: str) -> list[Node]:
    """Resources of each node of a running cluster, which is connected to for the question alone.

    Raises:
        InvalidInput: nothing answers at the address.
    """
    if ray.is_initialized():
        return living_nodes()
    connect(address)
    try:
        return living_nodes()
    finally:
        ray.shutdown()
