"""What is measured of every generation."""

from collections import Counter
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from collapse_ray.config.spec import Spec
from collapse_ray.evaluate.metric import MetricSpec

DEFAULT_METRICS = (
    "distinct_n",
    "frechet_distance",
    "novel_ngrams",
    "precision_recall",
    "rare_token_survival",
    "real_test_loss",
    "variance_ratio",
    "vocabulary_coverage",
)
"""Written out, not discovered: a file added to the folder must not change the identity of older evaluations."""


def _default_metrics() -> tuple[MetricSpec, ...]:
    return tuple(MetricSpec.resolve(kind) for kind in DEFAULT_METRICS)


class EvaluateSpec(Spec):
    """Metrics of a generator on held-out real rows and on samples drawn for the purpose."""

    metrics: tuple[MetricSpec, ...] = Field(default_factory=_default_metrics)
    """Each a name or `{kind: NAME, ...}`; a metric without meaning for the payload gives null."""
    num_samples: int = Field(default=1000, ge=0)
    """Samples generated for evaluation, apart from those of the pool; with 0 only the held-out rows are scored."""
    block_size: int = Field(default=256, ge=1)
    """Held-out rows scored at once; part of the identity because the noise of a stochastic loss is drawn per block."""

    @model_validator(mode="after")
    def _one_meaning_for_each_name(self) -> Self:
        counts = Counter(name for metric in self.metrics for name in metric.names)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            kinds = [metric.kind for metric in self.metrics if not set(repeated).isdisjoint(metric.names)]
            raise PydanticCustomError(
                "repeated_metric",
                "metrics {kinds} give the same values {names}; keep one of them",
                {"kinds": ", ".join(kinds), "names": ", ".join(repeated)},
            )
        return self
