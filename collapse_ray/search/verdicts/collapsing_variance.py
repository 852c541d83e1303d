"""Definition 4: collapsing variance."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Variance, or diversity, that falls towards none.

    Half of generation 1's variance is collapse: at generation 6 the digits of Shumailov et al. 2024 keep .41 of the
    variance of their latents (standard deviation .674 -> .433), and the rest follows if nothing changes.
    """

    definition: ClassVar[int] = 4

    image: Signal | None = Signal(
        metric="variance_ratio", worse="lower", scale="ratio", tolerance=0.9, threshold=0.5, floor=1e-6
    )
    """Total variance of the samples over that of real images."""
    tokens: Signal | None = Signal(
        metric="distinct_2", worse="lower", scale="ratio", tolerance=0.9, threshold=0.5, floor=1e-6
    )
    """Tokens have no variance: the share of distinct bigrams, as in Guo et al. 2024 ("The Curious Decline of Linguistic
    Diversity"), stands for it. It follows repetition, and does not order mixing ratios reliably."""
    vector: Signal | None = Signal(
        metric="variance_ratio", worse="lower", scale="ratio", tolerance=0.9, threshold=0.5, floor=1e-6
    )
    """Total variance of the samples over that of real rows."""
