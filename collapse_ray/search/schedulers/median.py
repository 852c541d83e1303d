"""The median stopping rule."""

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.method import Asked
from collapse_ray.search.scheduler import RankedSpec


class Spec(RankedSpec):
    """Ends a lineage whose best value is worse than the median of the others' running means (Golovin et al. 2017)."""

    min_lineages: int = Field(default=3, ge=1)
    """Lineages that must have come as deep before one is ended."""

    def check(self, asked: Asked) -> None:
        """Refuses a grace period as long as a lineage.

        Raises:
            InvalidInput: no lineage would be ended before its depth, or its metric is not evaluated.
        """
        super().check(asked)
        if self.grace_period >= asked.depth:
            raise InvalidInput(
                f"scheduler median: grace_period={self.grace_period} leaves nothing to end in a depth of "
                f"{asked.depth}; lower grace_period, or give a larger depth"
            )
