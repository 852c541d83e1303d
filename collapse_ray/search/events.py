"""What a sweep says while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from collapse_ray.search.trial import Trial
from collapse_ray.search.verdict import Verdict

State = Literal["waiting", "running", "complete", "stopped", "diverged", "failed"]
"""Of a lineage: `stopped` by a verdict, a scheduler, the searcher or the budget, before its depth; `failed` says
nothing about its health."""

ENDED: frozenset[State] = frozenset({"complete", "stopped", "diverged", "failed"})


@dataclass(frozen=True)
class SweepEvent:
    """All that is known of one lineage now: each event of a trial replaces the one before."""

    trial: Trial
    state: State
    lineage: str | None = None
    """As results and the ledger name it; None until its real data is in the store."""
    generation: int = 0
    """The latest one that was evaluated; 0 before the first."""
    stage: str | None = None
    """What it does now: `train`, `evaluate` or `generate` of the generation after; None between stages."""
    reused: bool = False
    """The generation, or the stage, was found in the store."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """The profile so far, by kind."""
    energy_j: float | None = None
    """Joules so far, where they are known already."""
    reason: str | None = None
    """Why it was stopped, or how it failed."""


OnEvent = Callable[[SweepEvent], None]
"""Receives events; must return at once."""


def ignore(event: SweepEvent) -> None:
    """For whoever does not watch."""
