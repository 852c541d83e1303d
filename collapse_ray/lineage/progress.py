"""What a lineage says while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageEvent:
    """A stage begins, is found published (`reused`), or has come to `done` of `total` steps or samples."""

    lineage: str
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


Listener = Callable[[StageEvent], None]
"""Receives events; must return at once."""


def ignore(event: StageEvent) -> None:
    """For whoever does not watch."""
