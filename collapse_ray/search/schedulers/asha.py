"""Asynchronous successive halving."""

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.method import Asked
from collapse_ray.search.scheduler import RankedSpec


class Spec(RankedSpec):
    """Ends the worse lineages at generations that grow by a factor (ASHA: Li et al. 2020)."""

    reduction_factor: float = Field(default=3, gt=1)
    """One in as many lineages goes on past each rung, and each rung is as many times deeper than the one before."""
    brackets: int = Field(default=1, ge=1)
    """Sets of rungs, each of which begins later by the factor."""

    def check(self, asked: Asked) -> None:
        """Refuses a depth without a rung.

        Raises:
            InvalidInput: no lineage would be ended before its depth, or its metric is not evaluated.
        """
        super().check(asked)
        first = self.grace_period * self.reduction_factor ** (self.brackets - 1)
        if asked.depth <= first:
            raise InvalidInput(
                f"scheduler asha: the first rung of bracket {self.brackets} is at generation {first:g}, and depth="
                f"{asked.depth} ends no later; give a depth above {first:g}, or lower scheduler.grace_period"
                f"{' or scheduler.brackets' if self.brackets > 1 else ''}"
            )
