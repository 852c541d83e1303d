"""Plans lineages that a search chooses as it goes: not which, but how many at most."""

from collections.abc import Sequence

from collapse_ray.search.outcome import SweepDocument
from collapse_ray.search.plan.cost import UNKNOWN, Estimator
from collapse_ray.search.plan.lineages import Followed
from collapse_ray.search.plan.listed import Left, left_of
from collapse_ray.search.plan.spec_plan import StageRow
from collapse_ray.search.plan.walk import Needed
from collapse_ray.search.spec import Sweep


def dearest(probes: Sequence[Followed], estimator: Estimator) -> Left:
    """The dearest of some lineages, each by itself and with nothing found."""
    alone = [left_of([probe], Needed(None), estimator) for probe in probes]
    return max(alone, key=lambda left: left.longest_s)


def bounded(sweep: Sweep, num_lineages: int, one: Left, document: SweepDocument | None) -> Left:
    """All lineages that are left, as if each were the dearest and shared nothing.

    Args:
        sweep: what is searched.
        num_lineages: at most.
        one: lineage, the dearest.
        document: what the store has of the sweep: its lineages that have ended are not counted.
    """
    times = _lineages_left(sweep, num_lineages, document)
    rows = tuple(
        StageRow(row.stage, round(times * (row.num_to_compute or 0)), None, row.cost.times(times)) for row in one.rows
    )
    return Left(rows, one.cost.times(times), one.longest_s if times else 0.0)


def unbounded(one: Left) -> Left:
    """Nobody knows how many."""
    return Left(tuple(StageRow(row.stage, None, None, UNKNOWN) for row in one.rows), UNKNOWN, 0.0)


def _lineages_left(sweep: Sweep, num_lineages: int, document: SweepDocument | None) -> float:
    """In whole lineages: a budget of generations may end them before their depth."""
    generations = sweep.spec.budget.generations
    most = num_lineages if generations is None else min(num_lineages, generations / sweep.spec.depth)
    if document is None:
        return most
    if document.outcome.state == "complete":
        return 0.0
    return max(0.0, most - len(document.outcome.ended))
