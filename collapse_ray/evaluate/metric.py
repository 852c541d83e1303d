"""What a metric must offer: a summary that is updated block by block and merged in any order."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.config.plugin import Plugin


class Summary(ABC):
    """Picklable state of one metric; merging in any order gives the same result up to rounding."""

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:  # noqa: B027
        """Held-out real rows: ids (B,), payload (B, *shape), test loss (B,) in nats. Ignored unless overridden."""

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:  # noqa: B027
        """Samples of the generator under evaluation. Ignored unless overridden."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Adds what another rank saw; `other` is of the same class."""

    @abstractmethod
    def compute(self) -> dict[str, float | None]:
        """One value for each of the metric's names; None where it is not defined, never 0 for absent."""


class MetricSpec(Plugin):
    """One file of metrics."""

    folder: ClassVar[str] = "collapse_ray.evaluate.metrics"

    names: ClassVar[tuple[str, ...]]
    """The values that `compute` returns."""

    @abstractmethod
    def empty(self, payload: Payload) -> Summary | None:
        """A summary that has seen nothing; None when the metric has no meaning for this payload (values are null).

        Raises:
            InvalidInput: the metric's settings do not fit the payload.
        """
