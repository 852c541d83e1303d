"""What a search method must offer: how the next point is chosen."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Json
from collapse_ray.search.axes import Axis
from collapse_ray.search.budget import SweepBudget
from collapse_ray.search.profile import ProfileSpec

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Asked:
    """What a sweep asks of its method and its scheduler.

    `evaluated` are the names of the values that every lineage's metrics give.
    """

    axes: Mapping[str, Axis]
    depth: int
    seeds: tuple[int, ...]
    profile: ProfileSpec
    budget: SweepBudget
    evaluated: frozenset[str]

    def require_metric(self, field: str, metric: str) -> None:
        """Refuses a metric that the lineages do not evaluate.

        Raises:
            InvalidInput: names the nearest.
        """
        if metric not in self.evaluated:
            raise InvalidInput(
                f"{field}: {metric!r} is not evaluated by the lineages; {did_you_mean(metric, self.evaluated)}; "
                "or add its metric to base.evaluate.metrics"
            )


class SearchSpec(Plugin, ABC):
    """How the points of a sweep are chosen."""

    folder: ClassVar[str] = "collapse_ray.search.methods"

    @abstractmethod
    def check(self, asked: Asked) -> None:
        """Refuses axes and settings that the method cannot search.

        Raises:
            InvalidInput: says what to change.
        """

    def points(self, axes: Mapping[str, Axis]) -> list[dict[str, Json]] | None:
        """All points, where they are known beforehand; None where results decide on the next one."""
        return None
