"""What a lineage says while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from collapse_ray.artifact.record import Record
from collapse_ray.config.payload import Payload


@dataclass(frozen=True)
class Pace:
    """What went through since the news before."""

    num_samples: float
    """Rows trained on, samples made, held-out rows scored; over all ranks."""
    num_tokens: float | None = None
    """None where samples have none."""
    duration_s: float | None = None
    """Of training steps, on rank 0; None in other stages."""
    data_wait_s: float | None = None
    """The part of it in which rank 0 waited for rows."""

    @classmethod
    def of(
        cls, payload: Payload, num_samples: float, duration_s: float | None = None, data_wait_s: float | None = None
    ) -> Self:
        """Of samples of a payload, which has tokens or not."""
        num_tokens = num_samples * payload.size if payload.kind == "tokens" else None
        return cls(num_samples, num_tokens, duration_s, data_wait_s)


@dataclass(frozen=True)
class StageEvent:
    """A stage begins, is found published (`reused`), has come to `done` of `total`, or has published its `record`."""

    lineage: str
    id: str
    """What results and the ledger call the lineage; `lineage` is its name."""
    seed: int
    generation: int
    stage: str
    artifact: str | None = None
    """Fingerprint of what the stage makes; None in news of its steps."""
    reused: bool = False
    done: int = 0
    total: int | None = None
    unit: str = "steps"
    loss: float | None = None
    pace: Pace | None = None
    """In news of steps and samples."""
    record: Record | None = None
    """Once the stage is published, by this process or before."""


Listener = Callable[[StageEvent], None]
"""Receives events; must return at once."""


Event = TypeVar("Event")


def each_of(*listeners: Callable[[Event], None]) -> Callable[[Event], None]:
    """A listener that passes events on, in this order."""

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen


def ignore(event: StageEvent) -> None:
    """For whoever does not watch."""
