"""What a scheduler must offer: which lineages are ended because others are better."""

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import Field

from collapse_ray.config.plugin import Plugin
from collapse_ray.search.method import Asked, Mode


class SchedulerSpec(Plugin, ABC):
    """Compares lineages at the same generation; only kinds that end lineages, none that pause them."""

    folder: ClassVar[str] = "collapse_ray.search.schedulers"

    @abstractmethod
    def check(self, asked: Asked) -> None:
        """Refuses settings under which the scheduler would never act.

        Raises:
            InvalidInput: says what to change.
        """


class RankedSpec(SchedulerSpec, ABC):
    """A scheduler that ranks lineages by a metric."""

    metric: str = "real_test_loss"
    """Of the latest generation."""
    mode: Mode = "min"
    """Whether small or large values are good."""
    grace_period: int = Field(default=2, ge=1)
    """Generations that every lineage gets."""

    def check(self, asked: Asked) -> None:
        asked.require_metric("scheduler.metric", self.metric)
