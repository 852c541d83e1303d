"""What the artifact of each stage is found under: for those who compute stages, and those who only plan them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Kind
from collapse_ray.data.regime import PoolPlan
from collapse_ray.lineage import identity
from collapse_ray.lineage.spec import LineageSpec


@dataclass(frozen=True)
class Name:
    """An artifact, known before it exists: fingerprints are of specs and parents."""

    kind: Kind
    stage: str
    generation: int
    identity: dict[str, Any]
    parents: dict[str, str]
    """Role -> fingerprint of what it is made from."""

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)


def ingested(lineage: LineageSpec, content: dict[str, Any], *, part: str) -> Name:
    """Real samples; see `identity.ingest`."""
    return Name("samples", "ingest", 0, identity.ingest(lineage, content, part=part), {})


def trained(
    lineage: LineageSpec, generation: int, plan: PoolPlan, samples: dict[int, str], previous: str | None
) -> Name:
    """The model of a generation.

    Args:
        lineage: what to compute.
        generation: whose model it is.
        plan: the rows of the pool.
        samples: generation -> fingerprint of its samples.
        previous: the model of the generation before; a parent only where training starts from it.
    """
    start = previous if lineage.train is not None and lineage.train.init == "previous" else None
    of = identity.train(lineage, generation, plan, samples, start)
    parents = {f"samples-{part.generation}": samples[part.generation] for part in plan.parts}
    if start is not None:
        parents["previous"] = start
    return Name("model", "train", generation, of, parents)


def evaluated(lineage: LineageSpec, generation: int, model: str, holdout: str) -> Name:
    """The metrics of a model on held-out real data."""
    of = identity.evaluate(lineage, generation, model, holdout)
    return Name("evaluation", "evaluate", generation, of, {"model": model, "holdout": holdout})


def generated(lineage: LineageSpec, generation: int, model: str, num_samples: int) -> Name:
    """Synthetic samples of a model."""
    of = identity.generate(lineage, generation, model, num_samples)
    return Name("samples", "generate", generation, of, {"model": model})
