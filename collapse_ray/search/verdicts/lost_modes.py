"""Definition 6: real modes disappear or become entangled."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Real modes that the samples no longer reach.

    Variance can hide it and recall shows it (Alemohammad et al. 2023, appendix B.2), so recall decides.
    """

    definition: ClassVar[int] = 6

    image: Signal | None = Signal(
        metric="recall", worse="lower", scale="ratio", tolerance=0.9, threshold=0.5, floor=0.01
    )
    """Recall (k = 5); below 1 % of the real rows nothing is told apart."""
    tokens: Signal | None = Signal(
        metric="vocabulary_coverage", worse="lower", scale="ratio", tolerance=0.95, threshold=0.8, floor=0.01
    )
    """Types of the held-out text that still occur; common ones never go, so that a fifth lost is a collapse."""
    vector: Signal | None = Signal(
        metric="recall", worse="lower", scale="ratio", tolerance=0.9, threshold=0.5, floor=0.01
    )
    """Recall (k = 5)."""
