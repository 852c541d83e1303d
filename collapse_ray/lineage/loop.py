"""One lineage, generation by generation.

Re-entered from its top after anything: what is published is not done again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from collapse_ray.artifact.record import Record
from collapse_ray.data.regime import PoolPlan
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.spec import LineageSpec


class Stages(Protocol):
    """The three stages as artifacts: each finds what is published or computes and publishes it."""

    def train(
        self, generation: int, plan: PoolPlan, samples: dict[int, SampleSet], previous: Record | None
    ) -> Record: ...

    def evaluate(self, generation: int, model: Record) -> Record: ...

    def generate(self, generation: int, model: Record, num_samples: int) -> SampleSet: ...

    def finish_generation(self, progress: "Progress") -> None: ...


@dataclass
class Progress:
    """What a lineage has reached; the index file is written from it."""

    models: list[Record] = field(default_factory=list)
    evaluations: list[Record] = field(default_factory=list)
    samples: dict[int, SampleSet] = field(default_factory=dict)
    plans: list[PoolPlan] = field(default_factory=list)
    verdict: Literal["running", "complete", "diverged", "stopped"] = "running"
    stopped_by: str | None = None
    """What a stop rule said when it ended the lineage."""

    @property
    def generation(self) -> int:
        return len(self.models)


Decide = Callable[[Progress], str | None]
"""A stop rule: why the lineage ends after its latest generation; None to go on. Pure, hence the same on all ranks."""


def go_on(progress: Progress) -> None:
    """No stop rule."""


def run_lineage(lineage: LineageSpec, prepared: Prepared, stages: Stages, decide: Decide = go_on) -> Progress:
    """Trains generations 1 to `lineage.depth`, each on the pool that the regime plans."""
    *_, progress = generations(lineage, prepared, stages, decide)
    return progress


def generations(lineage: LineageSpec, prepared: Prepared, stages: Stages, decide: Decide = go_on) -> Iterator[Progress]:
    """The same, one generation at a time: what was reached, in one object that grows.

    A generation that has diverged, or after which a stop rule ends the lineage, is never sampled: generate comes after
    the decision, and only when the next generation is asked for.
    """
    progress = Progress(samples={0: prepared.train})
    num_real = prepared.train.num_samples
    for generation in range(1, lineage.depth + 1):
        plan = lineage.regime.plan(seed=lineage.seed, generation=generation, num_real=num_real)
        previous = progress.models[-1] if progress.models else None
        model = stages.train(generation, plan, progress.samples, previous)
        progress.plans.append(plan)
        progress.models.append(model)
        if model.outcome == "diverged":
            progress.verdict = "diverged"
        else:
            progress.evaluations.append(stages.evaluate(generation, model))
            progress.stopped_by = decide(progress)
            if generation == lineage.depth:
                progress.verdict = "complete"
            elif progress.stopped_by is not None:
                progress.verdict = "stopped"
        stages.finish_generation(progress)
        yield progress
        if progress.verdict != "running":
            break
        num_synthetic = lineage.regime.num_to_generate(generation=generation, num_real=num_real)
        if num_synthetic > 0:
            progress.samples[generation] = stages.generate(generation, model, num_synthetic)
