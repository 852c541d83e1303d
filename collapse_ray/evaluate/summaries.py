"""All metrics of one evaluation, accumulated side by side."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import Summary
from collapse_ray.evaluate.moments import finite
from collapse_ray.evaluate.spec import EvaluateSpec


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Picklable state of an evaluation; each rank fills one, and merging them in any order gives the whole.

    `summaries` maps the names of each metric to its summary; None where the metric has no meaning for the payload.
    """

    summaries: dict[tuple[str, ...], Summary | None]

    @classmethod
    def empty(cls, spec: EvaluateSpec, payload: Payload) -> Self:
        """An evaluation that has seen nothing.

        Raises:
            InvalidInput: a metric's settings do not fit the payload.
        """
        return cls({metric.names: metric.empty(payload) for metric in spec.metrics})

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        """Held-out real rows: ids (B,), payload (B, *shape), test loss (B,) in nats."""
        for summary in self._present():
            summary.update_real(sample_ids, payload, loss)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        """Samples of the generator under evaluation: ids (B,), payload (B, *shape)."""
        for summary in self._present():
            summary.update_synthetic(sample_ids, payload)

    def merge(self, other: Self) -> None:
        """Adds what another rank saw; `other` was made from the same spec and payload."""
        for summary, theirs in zip(self._present(), other._present(), strict=True):
            summary.merge(theirs)

    def compute(self) -> dict[str, float | None]:
        """Every name of every metric; None where it is absent, has no meaning, or is not finite."""
        values: dict[str, float | None] = {}
        for names, summary in self.summaries.items():
            computed = dict.fromkeys(names) if summary is None else summary.compute()
            for name in names:
                value = computed[name]
                values[name] = None if value is None else finite(value)
        return values

    def _present(self) -> list[Summary]:
        return [summary for summary in self.summaries.values() if summary is not None]
