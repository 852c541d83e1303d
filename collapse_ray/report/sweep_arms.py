"""The arms of a sweep: what became of each point, over its seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload, PayloadKind
from collapse_ray.config.spec import Json
from collapse_ray.lineage.index import id_of, read_indices
from collapse_ray.search.outcome import LineageOutcome, SweepDocument
from collapse_ray.search.profile import profile
from collapse_ray.search.scaling import MIN_SIZES, with_scaling_exponent
from collapse_ray.search.series import Series, series_of_results
from collapse_ray.search.spec import SweepSpec
from collapse_ray.search.stop import StopRule
from collapse_ray.search.trial import Trial, flat, point_label
from collapse_ray.search.verdict import Verdict

Survival = Literal["survived", "collapsed", "undecided"]
"""Of a lineage, or of the arm that it belongs to, to the depth of its sweep."""

POOL_SIZES = ("regime.num_samples", "source.num_samples")
"""Axes along which the pool grows: arms that differ along one of them alone have a scaling law together."""

Index = dict[str, Any]


@dataclass(frozen=True)
class SweepArm:
    """The lineages of one point.

    `lineages` are in the order of their seeds; `indices` are those of them that trained something. `verdicts` are those
    of the arm over its seeds; `survivals` those of its lineages, each judged by itself.
    """

    point: dict[str, Json]
    lineages: tuple[LineageOutcome, ...]
    indices: tuple[Index, ...]
    verdicts: dict[str, Verdict]
    survivals: tuple[Survival, ...]

    @property
    def survival(self) -> Survival:
        """Survived where half of the lineages did, as frontiers are defined; collapsed where more than half did."""
        if 2 * self.survivals.count("survived") >= len(self.survivals):
            return "survived"
        return "collapsed" if 2 * self.survivals.count("collapsed") > len(self.survivals) else "undecided"

    @property
    def label(self) -> str:
        return point_label(self.point)

    @property
    def num_generations(self) -> int:
        """Over all lineages."""
        return sum(len(index["generations"]) for index in self.indices)


def sweep_arms(store: Store, document: SweepDocument, results: pd.DataFrame) -> list[SweepArm]:
    """The arms of a sweep, in the order in which they began, each with its profile over seeds.

    Args:
        store: holds the lineages.
        document: of the sweep.
        results: as `load` gives them.

    Raises:
        InvalidInput: another version of the package wrote the document.
    """
    asked = document.asked
    by_id = {id_of(index): index for index in read_indices(store)}
    groups: dict[str, list[LineageOutcome]] = {}
    for lineage in document.outcome.lineages:
        groups.setdefault(Trial(lineage.point, 0).key, []).append(lineage)
    arms = [sorted(group, key=lambda lineage: lineage.seed) for group in groups.values()]
    indices = [[by_id[of.lineage] for of in arm if of.lineage in by_id] for arm in arms]
    series = _with_scaling([_series(store, each, results) for each in indices], [arm[0].point for arm in arms])
    return [_arm(asked, arm, found, known) for arm, found, known in zip(arms, indices, series, strict=True)]


def _arm(asked: SweepSpec, lineages: list[LineageOutcome], indices: list[Index], series: Series | None) -> SweepArm:
    verdicts = {} if series is None else profile(asked.profile, series)
    rule = survival_rule(asked)
    survivals: tuple[Survival, ...] = tuple(
        survived(rule, each.verdicts, each.generation, complete=each.state == "complete") for each in lineages
    )
    return SweepArm(lineages[0].point, tuple(lineages), tuple(indices), verdicts, survivals)


def survival_rule(asked: SweepSpec) -> StopRule:
    """What decides whether a lineage survived: the stop rule, else the first of its default verdicts in the profile."""
    if asked.stop is not None:
        return asked.stop.model_copy(update={"patience": 1})
    kinds = [verdict.kind for verdict in asked.profile.verdicts]
    default = StopRule()
    return default if set(default.verdicts) <= set(kinds) else StopRule(verdicts=(kinds[0],))


def survived(rule: StopRule, verdicts: Mapping[str, Verdict], generation: int, *, complete: bool) -> Survival:
    """Whether a lineage survived by a rule: it came to the depth, and the rule would not have stopped it.

    Args:
        rule: its verdicts count. Where it asks for a collapse, a lineage that is collapsing has survived so far.
        verdicts: of the lineage, by kind; empty where it never got so far.
        generation: its latest one.
        complete: whether that is the depth of the sweep.
    """
    if not verdicts:
        return "undecided"
    if rule.stops(verdicts, generation):
        return "collapsed"
    enough = {"healthy"} if rule.at == "collapsing" else {"healthy", "collapsing"}
    stands = [verdicts[kind].status in enough for kind in rule.verdicts if verdicts[kind].status != "not measured"]
    alive = any(stands) if rule.when == "all" else bool(stands) and all(stands)
    return "survived" if alive and complete else "undecided"


def _series(store: Store, indices: Sequence[Index], results: pd.DataFrame) -> Series | None:
    if not indices:
        return None
    ids = [id_of(index) for index in indices]
    diverged = {id_of(index): len(index["generations"]) for index in indices if index["verdict"] == "diverged"}
    return series_of_results(results.loc[results["lineage"].isin(ids)], _payload(store, indices[0]), diverged)


def _payload(store: Store, index: Index) -> PayloadKind:
    return Payload.from_json(store.record("samples", index["train_samples"]).realised["payload"]).kind


def _with_scaling(series: Sequence[Series | None], points: Sequence[Mapping[str, Json]]) -> list[Series | None]:
    """The series, those of the largest pools with the exponent of their scaling law."""
    extended = list(series)
    for path in POOL_SIZES:
        groups: dict[str, dict[int, int]] = {}
        for number, point in enumerate(points):
            rest = flat(point)
            size = rest.pop(path, None)
            if isinstance(size, int) and series[number] is not None:
                groups.setdefault(Trial(rest, 0).key, {})[size] = number
        for by_size in groups.values():
            arms = {size: known for size, number in by_size.items() if (known := series[number]) is not None}
            if len(arms) >= MIN_SIZES and _same_seeds(arms.values()):
                extended[by_size[max(by_size)]] = with_scaling_exponent(arms)
    return extended


def _same_seeds(arms: Iterable[Series]) -> bool:
    return len({tuple(replicate.seed for replicate in arm.replicates) for arm in arms}) == 1
