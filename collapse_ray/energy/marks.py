"""What workers say about their time on a device: who used it, for what, from when to when."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Protocol

AccountKind = Literal["stage", "overhead", "idle", "foreign"]
"""A stage; start-up, checkpointing and orchestration; time that no mark covers; processes that are not ours."""


@dataclass(frozen=True)
class AccountKey:
    """What joules are summed under; the fields of work are None for `idle` and `foreign`.

    `stage` names the overhead where `kind` is `overhead` (`checkpoint`, `startup`).
    """

    kind: AccountKind
    node: str
    device: str
    sweep: str | None = None
    lineage: str | None = None
    generation: int | None = None
    stage: str | None = None
    substage: str | None = None
    artifact: str | None = None
    """Fingerprint of the artifact that the work makes: its own energy is the sum over its accounts."""


@dataclass(frozen=True)
class Work:
    """What a worker is about to do, before its node's meter adds the devices: the fields of `AccountKey`."""

    kind: AccountKind
    sweep: str | None = None
    lineage: str | None = None
    generation: int | None = None
    stage: str | None = None
    substage: str | None = None
    artifact: str | None = None

    def on(self, node: str, device: str) -> AccountKey:
        """The account of this work on one device."""
        return AccountKey(node=node, device=device, **asdict(self))


class Marker(Protocol):
    """Takes marks from a worker; never blocks it."""

    def working(self, work: Work) -> AbstractContextManager[None]:
        """Marks the block; blocks may nest, the inner one takes its time over."""
        ...


class NoMarks:
    """For work that nobody meters."""

    def working(self, work: Work) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True)
class Mark:
    """One stage, sub-stage or overhead on one device, in seconds of the monotonic clock of the device's node.

    A mark that lies inside another of the same sweep and lineage takes its time over: sub-stages from their stage,
    a checkpoint from the training around it. So does one inside a mark without a lineage, or without a sweep: a driver
    waits while its lineages work. Marks that overlap otherwise share the device.

    Raises:
        ValueError: the mark ends before it begins, its share is not in (0, 1], or its key is not one of work.
    """

    key: AccountKey
    begin_s: float
    end_s: float = math.inf
    """Infinite while the work goes on."""
    share: float | None = None
    """Declared share of the device in (0, 1], such as Ray's `num_gpus`; None claims it all."""
    worker: str | None = None
    """The process that did the work, as `Usage.sm_shares` names it; None where nobody can tell."""

    def __post_init__(self):
        if self.key.kind not in ("stage", "overhead"):
            raise ValueError(f"key.kind is {self.key.kind!r}; a mark is of kind 'stage' or 'overhead'")
        if not self.begin_s <= self.end_s:
            raise ValueError(f"begin_s is {self.begin_s} and end_s {self.end_s}; a mark cannot end before it begins")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; give a fraction in (0, 1], or None for the whole device")

    def shifted(self, offset_s: float) -> "Mark":
        """The same mark on a clock that shows `offset_s` more."""
        return replace(self, begin_s=self.begin_s + offset_s, end_s=self.end_s + offset_s)

    def inside(self, other: "Mark") -> bool:
        """Whether `other` is of the same lineage, or of none, covers all of this mark, and more."""
        same = other.key.sweep in (None, self.key.sweep) and other.key.lineage in (None, self.key.lineage)
        covered = other.begin_s <= self.begin_s and self.end_s <= other.end_s
        return same and covered and (other.begin_s, other.end_s) != (self.begin_s, self.end_s)


@dataclass(frozen=True)
class Usage:
    """How busy each process kept a device between two times (NVML: `nvmlDeviceGetProcessUtilization`)."""

    device: str
    begin_s: float
    end_s: float
    sm_shares: Mapping[str, float] = field(default_factory=dict)
    """Streaming-multiprocessor time in [0, 1] by worker. Workers without a mark at that time are foreign."""
