"""Optuna's samplers."""

from typing import Literal

from pydantic import Field

from collapse_ray.search.method import Asked, Mode, SearchSpec


class Spec(SearchSpec):
    """Optuna's samplers look for the point with the best metric at the deepest generation reached.

    That is no frontier: the samplers crowd around the best point, not around the border of collapse.
    """

    num_points: int = Field(ge=1)
    """Points; every seed of the sweep runs at each."""
    metric: str = "real_test_loss"
    """Of a lineage's latest generation."""
    mode: Mode = "min"
    """Whether small or large values are good."""
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    """Tree-structured Parzen estimator, Gaussian process, or none."""
    seed: int = Field(default=0, ge=0)
    """Of the sampler; no lineage sees it."""

    def check(self, asked: Asked) -> None:
        asked.require_metric("search.metric", self.metric)
