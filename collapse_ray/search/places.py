"""How many lineages a set of nodes holds at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROUNDING = 1e-6
"""Shares of a GPU are decimals, and no binary fractions: ten times 0.1 is one."""

Node = Mapping[str, float]
"""Resources of a node as Ray names them: `CPU`, `GPU`."""


@dataclass(frozen=True)
class Places:
    """What one lineage takes, and what is kept free for the read tasks of Ray Data."""

    workers: int
    """Of one lineage, at least 1: without a group the driver or the trial is the worker."""
    cpus_per_worker: float
    gpus_per_worker: float
    data_cpus: int

    def on(self, nodes: Sequence[Node]) -> int:
        """Lineages that the nodes hold; a worker lies on one node, and a share of a GPU on one GPU."""
        workers = sum(map(self._workers_on, nodes))
        free = sum(node.get("CPU", 0.0) for node in nodes) - self.data_cpus
        return min(workers, math.floor(free / self.cpus_per_worker + ROUNDING)) // self.workers

    def _workers_on(self, node: Node) -> int:
        by_cpu = math.floor(node.get("CPU", 0.0) / self.cpus_per_worker + ROUNDING)
        gpus, share = node.get("GPU", 0.0), self.gpus_per_worker
        if not share:
            return by_cpu
        by_gpu = gpus // share if share >= 1 else gpus * math.floor(1 / share + ROUNDING)
        return min(by_cpu, int(by_gpu))
