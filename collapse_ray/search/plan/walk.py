"""Follows a lineage through its stages as a run would, without computing any: what is found, and what is left to do."""

from dataclasses import dataclass, field

from collapse_ray.artifact.record import Kind, Record
from collapse_ray.artifact.store import Store
from collapse_ray.data.regime import PoolPlan
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import shard_layout
from collapse_ray.lineage import naming
from collapse_ray.lineage.loop import Decide, Progress, run_lineage
from collapse_ray.lineage.naming import Name
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.search.work import Work

Artifact = tuple[Kind, str]

Made = tuple[Kind, int]
"""Of one lineage: a kind of artifact and the generation that made it."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage that a run would compute."""

    stage: str
    lineage: LineageSpec
    prepared: Prepared
    amount: float
    """In the unit of `Work`; samples for the real data."""


@dataclass
class Needed:
    """What lineages are made of, each artifact once, however many share it.

    Args:
        store: looked at and never written; None where nothing is there yet.
    """

    store: Store | None
    reused: dict[Artifact, str] = field(default_factory=dict)
    """Found in the store, files included where a stage that is left needs them: the stage that made each."""
    computed: dict[Artifact, PlannedStage] = field(default_factory=dict)
    """Left to do, in an order in which it can be done."""
    _records: dict[Artifact, Record | None] = field(default_factory=dict)

    def look(self, key: Artifact) -> Record | None:
        """The record of what is published and whole."""
        if key not in self._records:
            self._records[key] = None if self.store is None else self.store.look(*key)
        return self._records[key]


def walk(lineage: LineageSpec, prepared: Prepared, needed: Needed, decide: Decide) -> list[Artifact]:
    """Adds what a lineage needs.

    Args:
        lineage: the lineage.
        prepared: its real data as `name_real` names it.
        needed: what it needs is added here.
        decide: its stop rule, asked as long as the store has the evaluations; later ones are not foreseen, so
            what is left is an upper bound.

    Returns:
        What is left to do of this lineage, artifacts of others included.
    """
    stages = _Walked(lineage, prepared, needed)
    for samples in (prepared.train, prepared.holdout):
        stages.ingest(samples)
    run_lineage(lineage, prepared, stages, lambda progress: decide(progress) if stages.is_known else None)
    return stages.left


class _Walked:
    """The stages of a lineage, found or stood in for: `loop.Stages`."""

    def __init__(self, lineage: LineageSpec, prepared: Prepared, needed: Needed) -> None:
        self._lineage, self._prepared, self._needed = lineage, prepared, needed
        self._work = Work.of_lineage(lineage, prepared)
        self._made: dict[Made, tuple[Name, list[Made]]] = {}
        self.is_known = True
        """Whether the store has all evaluations so far."""
        self._left = dict[Artifact, None]()

    @property
    def left(self) -> list[Artifact]:
        return list(self._left)

    def ingest(self, samples: SampleSet) -> None:
        key: Artifact = ("samples", samples.fingerprint)
        if self._needed.look(key) is None:
            self._add(key, "ingest", samples.num_samples)
        else:
            self._needed.reused[key] = "ingest"

    def train(self, generation: int, plan: PoolPlan, samples: dict[int, SampleSet], previous: Record | None) -> Record:
        of = {each: of.fingerprint for each, of in samples.items()}
        before = None if previous is None else previous.fingerprint
        name = naming.trained(self._lineage, generation, plan, of, before)
        reads: list[Made] = [("samples", part.generation) for part in plan.parts if part.generation > 0]
        if "previous" in name.parents:
            reads.append(("model", generation - 1))
        return self._visit(name, reads)

    def evaluate(self, generation: int, model: Record) -> Record:
        name = naming.evaluated(self._lineage, generation, model.fingerprint, self._prepared.holdout.fingerprint)
        record = self._visit(name, [("model", generation)])
        self.is_known = self.is_known and self._needed.look(("evaluation", name.fingerprint)) is not None
        return record

    def generate(self, generation: int, model: Record, num_samples: int) -> SampleSet:
        name = naming.generated(self._lineage, generation, model.fingerprint, num_samples)
        self._visit(name, [("model", generation)])
        layout = shard_layout(num_samples, self._lineage.generate.block_size)
        return SampleSet(name.fingerprint, layout, self._prepared.payload)

    def finish_generation(self, progress: Progress) -> None:
        pass

    def _visit(self, name: Name, reads: list[Made]) -> Record:
        """The record, or one that stands in for it; `reads` are those whose files the stage needs."""
        self._made[name.kind, name.generation] = name, reads
        key = (name.kind, name.fingerprint)
        record = self._needed.look(key)
        if record is None or key in self._needed.computed:
            self._compute(name, reads)
        else:
            self._needed.reused[key] = name.stage
        return record or _stand_in(name)

    def _compute(self, name: Name, reads: list[Made]) -> None:
        for kind, generation in reads:
            read, its_reads = self._made[kind, generation]
            record = self._needed.look((kind, read.fingerprint))
            if record is not None and record.retired:  # as `Publisher.with_files`
                self._compute(read, its_reads)
        self._add((name.kind, name.fingerprint), name.stage, self._work.of(name.stage, name.generation))

    def _add(self, key: Artifact, stage: str, amount: float) -> None:
        self._left[key] = None
        self._needed.reused.pop(key, None)
        self._needed.computed.setdefault(key, PlannedStage(stage, self._lineage, self._prepared, amount))


def _stand_in(name: Name) -> Record:
    """For a record that is not published: nothing but its name is read."""
    return Record(
        kind=name.kind,
        fingerprint=name.fingerprint,
        identity=name.identity,
        parents=name.parents,
        files=(),
        duration_s=0.0,
        created_at="",
        host="",
        code_version="",
    )
