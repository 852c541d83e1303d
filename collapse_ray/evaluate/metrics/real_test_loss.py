"""Loss on held-out real data: the quantity whose growth most definitions of collapse speak of."""

import math
from typing import ClassVar, Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.moments import Moments, finite


class Spec(MetricSpec):
    """Mean test loss in nats: -ELBO of images, negative log-likelihood of vectors, cross-entropy per token.

    `real_test_loss_stderr` is the standard error of that mean over held-out rows, and `perplexity` its exponential,
    for tokens only. All are None where the mean is not finite.
    """

    names: ClassVar[tuple[str, ...]] = ("real_test_loss", "real_test_loss_stderr", "perplexity")

    def empty(self, payload: Payload) -> Summary:
        return TestLoss(per_token=payload.kind == "tokens")


class TestLoss(Summary):
    """Moments of the loss over held-out rows."""

    def __init__(self, *, per_token: bool) -> None:
        self.per_token = per_token
        self.losses = Moments(1)

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.losses.update(loss.astype(np.float64).reshape(-1, 1))

    def merge(self, other: Self) -> None:
        self.losses.merge(other.losses)

    def compute(self) -> dict[str, float | None]:
        mean = finite(self.losses.mean[0]) if self.losses.count else None
        variance = self.losses.total_variance
        return {
            "real_test_loss": mean,
            "real_test_loss_stderr": None if variance is None else math.sqrt(variance / self.losses.count),
            "perplexity": _exp(mean) if self.per_token and mean is not None else None,
        }


def _exp(loss: float) -> float | None:
    with np.errstate(over="ignore"):
        return finite(np.exp(loss))
