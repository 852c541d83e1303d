"""Network: an all-reduce between the nodes gives the sum, over gloo and between GPUs over NCCL, at what bandwidth."""

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site

TIMEOUT = timedelta(seconds=30)
NUM_BYTES = {"gloo": 16 * 2**20, "nccl": 256 * 2**20}
NUM_ROUNDS = 5
SLOW_BYTES_PER_S = 0.1e9
"""Gigabit Ethernet gives 0.12 GB/s; below it, the network is slower than any that is sold for clusters."""
FIXES = {
    "gloo": "open all ports between the nodes; GLOO_SOCKET_IFNAME=INTERFACE where the host's name is no address of it",
    "nccl": "open all ports between the nodes; NCCL_SOCKET_IFNAME=INTERFACE; NCCL_DEBUG=INFO tells more",
}


@dataclass(frozen=True)
class Reduced:
    """How the all-reduce went on one node."""

    duration_s: float = 0.0
    """Of one round."""
    error: str | None = None


@dataclass(frozen=True)
class Exchange:
    """One all-reduce."""

    backend: str
    num_bytes: int
    nodes: dict[str, Reduced]
    num_ranks: int

    @property
    def bytes_per_s(self) -> float:
        """Bus bandwidth: bytes that each link carries, whatever the number of ranks (nccl-tests, PERFORMANCE.md)."""
        slowest_s = max(reduced.duration_s for reduced in self.nodes.values())
        return 2 * (self.num_ranks - 1) / self.num_ranks * self.num_bytes / slowest_s


class Examination(Check[list[Exchange]]):
    """One rank for each node."""

    def examine(self, site: Site) -> list[Exchange]:
        computing = [node for node in site.nodes if node.num_cpus or node.num_gpus]
        with_gpus = [node for node in computing if node.num_gpus]
        ranks = {"gloo": computing, "nccl": with_gpus}
        return [_exchange(site, backend, nodes) for backend, nodes in ranks.items() if len(nodes) > 1]

    def judge(self, facts: list[Exchange]) -> Iterator[Finding]:
        if not facts:
            yield Finding("cluster", Status.not_applicable, "fewer than two nodes compute")
        for exchange in facts:
            broken = {node: reduced.error for node, reduced in exchange.nodes.items() if reduced.error is not None}
            for node, error in broken.items():
                yield Finding(
                    node,
                    Status.fault,
                    f"the all-reduce over {exchange.backend} failed: {error}",
                    FIXES[exchange.backend],
                )
            if broken or not exchange.nodes:
                continue
            speed = _say(exchange)
            slow = exchange.bytes_per_s < SLOW_BYTES_PER_S
            for node in exchange.nodes:
                if slow:
                    yield Finding(
                        node, Status.warning, f"{speed}: slower than gigabit Ethernet", FIXES[exchange.backend]
                    )
                else:
                    yield Finding(node, Status.ok, speed)


def _say(exchange: Exchange) -> str:
    speed = f"{exchange.bytes_per_s / 1e9:.2g} GB/s"
    return f"all-reduce over {exchange.backend}, {exchange.num_ranks} nodes, {exchange.num_bytes >> 20} MiB: {speed}"


def _exchange(site: Site, backend: str, nodes: Sequence[Node]) -> Exchange:
    port = site.call(nodes[0], free_port)
    answers: dict[str, Reduced | None] = {}
    if port is not None:
        names = [node.name for node in nodes]
        answers = site.each(probe, names, backend, f"tcp://{nodes[0].address}:{port}")
    reduced = {node: answer for node, answer in answers.items() if answer is not None}
    return Exchange(backend, NUM_BYTES[backend], reduced, len(nodes))


def free_port(_: Node) -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


def probe(node: Node, ranks: Sequence[str], backend: str, meeting: str) -> Reduced | None:
    """This node's part; None where it has none."""
    if node.name not in ranks:
        return None
    try:
        dist.init_process_group(
            backend, init_method=meeting, rank=ranks.index(node.name), world_size=len(ranks), timeout=TIMEOUT
        )
        return _reduce(backend, len(ranks))
    except RuntimeError as error:  # what torch.distributed raises, whatever went wrong
        return Reduced(error=str(error).partition("\n")[0])
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _reduce(backend: str, num_ranks: int) -> Reduced:
    device = torch.device("cuda", 0) if backend == "nccl" else torch.device("cpu")
    ones = torch.ones(NUM_BYTES[backend] // 4, device=device)
    dist.all_reduce(ones)  # connects
    wrong = int((ones != num_ranks).sum())
    if wrong:
        return Reduced(error=f"{wrong} of {ones.numel()} sums of {num_ranks} ones are wrong")
    dist.barrier()
    began_s = time.monotonic()
    for _ in range(NUM_ROUNDS):
        dist.all_reduce(ones)
    _ = ones[0].item()  # GPUs work behind
    return Reduced((time.monotonic() - began_s) / NUM_ROUNDS)
