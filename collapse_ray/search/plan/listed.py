"""Plans lineages that are known beforehand: each is followed stage by stage."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from collapse_ray.search.plan.cost import Cost, Estimator
from collapse_ray.search.plan.lineages import Followed
from collapse_ray.search.plan.spec_plan import StageRow, rows_of
from collapse_ray.search.plan.walk import Needed, walk


@dataclass(frozen=True)
class Left:
    """What is left of some lineages, and what was found."""

    rows: tuple[StageRow, ...]
    cost: Cost
    longest_s: float
    """Of the lineage that has most to do, or to wait for."""


def left_of(lineages: Sequence[Followed], needed: Needed, estimator: Estimator) -> Left:
    """Follows lineages.

    Args:
        lineages: in the order in which they run.
        needed: what lineages before them need, which is not counted again; what these need is added.
        estimator: of costs.
    """
    known, found = set(needed.computed), set(needed.reused)
    chains = [walk(each.lineage, each.prepared, needed, each.decide) for each in lineages]
    stages = {key: stage for key, stage in needed.computed.items() if key not in known}
    costs = {key: estimator.cost(stage) for key, stage in stages.items()}
    reused = Counter(stage for key, stage in needed.reused.items() if key not in found)
    durations = {key: cost.duration_s.value for key, cost in costs.items() if cost.duration_s is not None}
    return Left(
        rows=rows_of([(stages[key].stage, cost) for key, cost in costs.items()], reused),
        cost=Cost.total(list(costs.values())),
        longest_s=max((sum(durations.get(key, 0.0) for key in chain) for chain in chains), default=0.0),
    )
