"""What is planned of one spec file."""

from collections.abc import Sequence
from dataclasses import dataclass

from collapse_ray.search.plan.cost import Cost
from collapse_ray.search.plan.estimate import Estimate
from collapse_ray.search.plan.resources import Resources

STAGES = ("ingest", "train", "evaluate", "generate")


@dataclass(frozen=True)
class StageRow:
    """One kind of stage."""

    stage: str
    num_to_compute: int | None
    """None where nothing bounds it."""
    num_to_reuse: int | None
    """Artifacts that the store has, each counted once; None where they are not known beforehand."""
    cost: Cost


@dataclass(frozen=True)
class SpecPlan:
    """One spec file. What it shares with a file before it is counted there."""

    name: str
    is_sweep: bool
    depth: int
    num_lineages: int | None
    """At most, where results choose them; None where nothing bounds it."""
    chosen_as_it_goes: bool
    """Whether results decide on the lineages."""
    rows: tuple[StageRow, ...]
    cost: Cost
    """Of all stages."""
    elapsed_s: Estimate | None
    """With as many lineages side by side as fit, and no shorter than the longest lineage; None where none fits."""
    resources: Resources
    notes: tuple[str, ...] = ()


def elapsed(cost: Cost, longest_s: float, at_once: int) -> Estimate | None:
    """Time of stages of which lineages do theirs side by side: work / m, or the longest lineage's where that is more.

    Args:
        cost: of all stages.
        longest_s: of the longest lineage.
        at_once: lineages side by side.
    """
    work = cost.duration_s
    if work is None or not at_once:
        return None
    share = longest_s / work.value if work.value else 0.0
    return work.times(max(1 / at_once, min(1.0, share)))


def rows_of(costs: Sequence[tuple[str, Cost]], reused: dict[str, int] | None) -> tuple[StageRow, ...]:
    """A row for each kind of stage.

    Args:
        costs: stage and cost of everything that is left.
        reused: stage -> artifacts that were found; None where nobody can know.
    """
    rows = []
    for stage in STAGES:
        own = [cost for of, cost in costs if of == stage]
        found = None if reused is None else reused.get(stage, 0)
        rows.append(StageRow(stage, len(own), found, Cost.total(own)))
    return tuple(rows)
