"""What each stage's fingerprint is made of: its spec, its parents' fingerprints, the seed; nothing of the execution."""

from typing import Any

from collapse_ray.data.regime import PoolPlan
from collapse_ray.lineage.spec import LineageSpec

STAGE_VERSION = {"ingest": 1, "train": 1, "generate": 1, "evaluate": 2}
"""Raised when a stage's algorithm changes its numbers, so that old artifacts are not taken for new ones."""


def ingest(lineage: LineageSpec, content: dict[str, Any], *, part: str) -> dict[str, Any]:
    """Real samples; `part` is `train` or `holdout`. The lineage's seed is in `content` where the source uses it."""
    return _identity(
        "ingest", source=lineage.source.identity(), content=content, holdout=lineage.holdout_fraction, part=part
    )


def train(
    lineage: LineageSpec, generation: int, plan: PoolPlan, samples: dict[int, str], previous: str | None
) -> dict[str, Any]:
    """A model. The regime enters through the planned rows alone, so equal plans share one model.

    Args:
        lineage: family, training and seed are read.
        generation: addresses the randomness.
        plan: the rows of the pool.
        samples: generation -> fingerprint of its samples.
        previous: the model that training starts from, if any.
    """
    return _identity(
        "train",
        family=lineage.family.identity(),
        train=None if lineage.train is None else lineage.train.identity(),
        seed=lineage.seed,
        generation=generation,
        plan=plan.identity(),
        samples=[samples[part.generation] for part in plan.parts],
        previous=previous,
    )


def generate(lineage: LineageSpec, generation: int, model: str, num_samples: int) -> dict[str, Any]:
    """Synthetic samples of one model."""
    return _identity(
        "generate",
        generate=lineage.generate.identity(),
        seed=lineage.seed,
        generation=generation,
        model=model,
        num_samples=num_samples,
    )


def evaluate(lineage: LineageSpec, generation: int, model: str, holdout: str) -> dict[str, Any]:
    """Metrics of one model on held-out real data."""
    return _identity(
        "evaluate",
        evaluate=lineage.evaluate.identity(),
        generate=lineage.generate.identity(),
        seed=lineage.seed,
        generation=generation,
        model=model,
        holdout=holdout,
    )


def _identity(stage: str, **fields: Any) -> dict[str, Any]:
    return {"stage": stage, "version": STAGE_VERSION[stage], **fields}
