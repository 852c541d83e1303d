"""What a sweep cost, and what it did not: lineages that were stopped early, and artifacts that lineages share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from collapse_ray.artifact.record import Kind
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import id_of
from collapse_ray.search.work import Index, Work, at_their_rate

Artifact = tuple[Kind, str]


@dataclass(frozen=True)
class Amount:
    """Joules and seconds of work; None where not one part of it is known."""

    energy_j: float | None
    duration_s: float | None

    @classmethod
    def total(cls, amounts: Iterable["Amount"]) -> "Amount":
        """The sum of what is known."""
        amounts = list(amounts)
        energies = [amount.energy_j for amount in amounts if amount.energy_j is not None]
        durations = [amount.duration_s for amount in amounts if amount.duration_s is not None]
        return cls(sum(energies) if energies else None, sum(durations) if durations else None)

    @classmethod
    def all_of(cls, amounts: Iterable["Amount"]) -> "Amount":
        """The sum, None where a part of it is not known."""
        amounts = list(amounts)
        energies = [amount.energy_j for amount in amounts]
        durations = [amount.duration_s for amount in amounts]
        return cls(
            None if None in energies else sum(filter(None, energies)),
            None if None in durations else sum(filter(None, durations)),
        )

    def times(self, factor: float) -> "Amount":
        """As much of it."""
        return Amount(
            None if self.energy_j is None else self.energy_j * factor,
            None if self.duration_s is None else self.duration_s * factor,
        )


@dataclass(frozen=True)
class StoppedLineage:
    """A lineage that ended before its depth.

    `spent` is what its artifacts cost, those that it shares included. `saved` is estimated: what its missing
    stages would have cost at its own stages' rate, in proportion to the rows trained on and the samples made. It is
    None where a stage that is missing was never measured.
    """

    lineage: str
    generation: int
    spent: Amount
    saved: Amount
    num_unmeasured: int
    """Artifacts without joules: where not 0, `spent` is a lower bound."""

    @property
    def to_depth(self) -> Amount:
        """What it would have cost to its depth; estimated."""
        return Amount.all_of([self.spent, self.saved])


@dataclass(frozen=True)
class SweepCost:
    """What the lineages of a sweep cost together."""

    stopped: tuple[StoppedLineage, ...]
    spent: Amount
    """Of every artifact that a lineage of the sweep is made of, each once; some may have been there before."""
    saved_by_stopping: Amount
    """Estimated: the sum over stopped lineages of what is known."""
    saved_by_sharing: Amount
    """What artifacts of several lineages would have cost if each lineage had made its own."""
    num_shared: int
    """Artifacts of more than one lineage."""
    num_unmeasured: int
    """Artifacts without joules."""


def sweep_cost(store: Store, indices: Iterable[Index], stopped: Iterable[str], depth: int) -> SweepCost:
    """Adds up what a sweep cost.

    Args:
        store: holds the artifacts.
        indices: of the sweep's lineages.
        stopped: the lineages, by id, that were ended before their depth.
        depth: of the sweep.

    Raises:
        StoreError: a record that an index names is missing.
    """
    indices, ended = list(indices), frozenset(stopped)
    costs = _Costs(store)
    uses = Counter(artifact for index in indices for artifact in artifacts_of(index))
    lineages = [
        _stopped_lineage(store, index, depth, costs)
        for index in indices
        if id_of(dict(index)) in ended and len(index["generations"]) < depth
    ]
    shared = {artifact: count - 1 for artifact, count in uses.items() if count > 1}
    return SweepCost(
        stopped=tuple(lineages),
        spent=Amount.total(costs[artifact] for artifact in uses),
        saved_by_stopping=Amount.total(lineage.saved for lineage in lineages),
        saved_by_sharing=Amount.total(costs[artifact].times(count) for artifact, count in shared.items()),
        num_shared=len(shared),
        num_unmeasured=sum(costs[artifact].energy_j is None for artifact in uses),
    )


def amounts_of(store: Store, indices: Iterable[Index]) -> list[Amount]:
    """The cost of every artifact that some lineages are made of, each once."""
    costs = _Costs(store)
    return [costs[artifact] for artifact in {artifact for index in indices for artifact in artifacts_of(index)}]


def artifacts_of(index: Index) -> set[Artifact]:
    """Everything that a lineage is made of, its real data included."""
    found: set[Artifact] = {("samples", index["train_samples"]), ("samples", index["holdout_samples"])}
    for generation in index["generations"]:
        for entry, kind in _STAGES.values():
            if generation[entry] is not None:
                found.add((kind, generation[entry]))
    return found


_STAGES: dict[str, tuple[str, Kind]] = {
    "train": ("model", "model"),
    "evaluate": ("evaluation", "evaluation"),
    "generate": ("samples", "samples"),
}
"""Each stage, where an index names its artifact, and the artifact's kind."""


class _Costs(dict[Artifact, Amount]):
    """The cost of artifacts, each read once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, artifact: Artifact) -> Amount:
        energy = self._store.energy(*artifact)
        self[artifact] = Amount(None if energy is None else energy.energy_j, self._store.record(*artifact).duration_s)
        return self[artifact]


def _stopped_lineage(store: Store, index: Index, depth: int, costs: _Costs) -> StoppedLineage:
    own = [costs[artifact] for artifact in artifacts_of(index)]
    work = Work.of_index(store, index)
    saved = [_missing(index, stage, depth, work, costs) for stage in _STAGES]
    return StoppedLineage(
        lineage=id_of(dict(index)),
        generation=len(index["generations"]),
        spent=Amount.total(own),
        saved=Amount.all_of(saved),
        num_unmeasured=sum(amount.energy_j is None for amount in own),
    )


def _missing(index: Index, stage: str, depth: int, work: Work, costs: _Costs) -> Amount:
    """What the generations that were not reached would have cost in one stage."""
    entry, kind = _STAGES[stage]
    done = {each["generation"]: each[entry] for each in index["generations"] if each[entry] is not None}
    # Nobody samples the last generation: none trains on its samples.
    last = depth - 1 if stage == "generate" else depth
    missing = sum(work.of(stage, generation) for generation in range(1, last + 1) if generation not in done)
    if not missing:
        return Amount(0.0, 0.0)
    measured = [(costs[kind, of], work.of(stage, generation)) for generation, of in done.items()]
    return Amount(
        at_their_rate([(cost.energy_j, amount) for cost, amount in measured], missing),
        at_their_rate([(cost.duration_s, amount) for cost, amount in measured], missing),
    )
