"""Definition 3: an asymptotically diverging population risk."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from collapse_ray.search.verdict import Criterion, Signal, VerdictSpec


class Spec(VerdictSpec):
    """Risk that grows without bound: its growth does not die out over the generations seen.

    With m the generation half-way from 1 to t, the risk must have grown between m and t by more than the signal's
    limits, and by at least the share of its growth before m that a power law (t - 1)^growth_exponent has. Under
    `replace` the risk of linear regression grows like t - 1, under `accumulate` like the sum of 1/i^2, which converges
    (Gerstgrasser et al. 2024, theorems 1 and 2): these are told apart from generation 5 on. A risk that grows like a
    logarithm diverges, too, but is seen as such by small exponents only. No finite series proves a divergence:
    the verdict says that the risk has grown so far as one that diverges.
    """

    definition: ClassVar[int] = 3
    first_look: ClassVar[int] = 5

    image: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=1.0, threshold=10.0
    )
    """Nats per image, over the latter half of the generations."""
    tokens: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.02, threshold=0.2
    )
    """Nats per token, over the latter half. Gerstgrasser et al. 2024 under `replace`: .19 from generation 3 to 5."""
    vector: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.05, threshold=0.5
    )
    """Nats per vector, over the latter half."""
    growth_exponent: float = Field(default=0.5, gt=0)
    """The slowest power law of t - 1 that counts as diverging."""

    def criteria(self, signal: Signal, generations: np.ndarray) -> tuple[Criterion, ...]:
        later, earlier = _halves(generations)
        steps = generations - 1.0
        halfway = steps[_halfway(generations)]
        # Growth of (t - 1)^b over the latter half, by that over the former; 0 where there is no former.
        share = np.divide(steps, halfway, out=np.ones_like(steps), where=halfway > 0) ** self.growth_exponent - 1
        return (
            Criterion("growth since half-way", later, *signal.limits),
            Criterion("growth that does not die out", later - share[:, None] * earlier, 0.0, 0.0),
        )


def _halfway(generations: np.ndarray) -> np.ndarray:
    """Column (T,) of the generation half-way from the first to each, or of the one before it."""
    return np.searchsorted(generations, (1 + generations) / 2, side="right") - 1


def _halves(generations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (T, T) of the change from half-way to each generation, and from the first to half-way."""
    each = np.eye(len(generations))
    halfway = each[_halfway(generations)]
    return each - halfway, halfway - each[0]
