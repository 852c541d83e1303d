"""The ranks that run one lineage together, seen from inside one of them."""

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


class Group(ABC):
    """Rank, size and the few collectives that the loop needs; every method is called by all ranks alike."""

    rank: int
    world_size: int
    device: torch.device

    @abstractmethod
    def broadcast(self, value: T) -> T:
        """The value of rank 0, on every rank."""

    @abstractmethod
    def gather(self, value: T) -> list[T]:
        """The values of all ranks in rank order, on every rank."""

    @abstractmethod
    def mean(self, value: float) -> float:
        """The mean of a number over the ranks."""

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        self.gather(None)

    def report(self, metrics: dict[str, Any]) -> None:  # noqa: B027 (a lone process has nobody to report to)
        """Announces one finished generation to whatever runs the group."""


class SoloGroup(Group):
    """One process without a process group."""

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")

    def broadcast(self, value: T) -> T:
        return value

    def gather(self, value: T) -> list[T]:
        return [value]

    def mean(self, value: float) -> float:
        return value


class TorchGroup(Group):
    """Ranks of an initialised torch.distributed process group."""

    def __init__(self, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.device = device
        # None is the whole group. Objects travel over gloo even where tensors travel over NCCL.
        self._control: Any = None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")

    def broadcast(self, value: T) -> T:
        box = [value if self.rank == 0 else None]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]  # type: ignore[return-value]  # filled by the collective

    def gather(self, value: T) -> list[T]:
        box: list[T | None] = [None] * self.world_size
        dist.all_gather_object(box, value, group=self._control)
        return box  # type: ignore[return-value]  # filled by the collective

    def mean(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total, group=self._control)
        return total.item() / self.world_size
