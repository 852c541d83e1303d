"""Definition 8: hallucinated data appears."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Samples that the real distribution would not give.

    Precision is the share of samples within the real manifold (Kynkaanniemi et al. 2019); biased sampling can raise it
    while everything else collapses (Alemohammad et al. 2023). No metric of tokens says it yet, so that there it is not
    measured unless one is named.
    """

    definition: ClassVar[int] = 8

    image: Signal | None = Signal(
        metric="precision", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Precision (k = 5)."""
    vector: Signal | None = Signal(
        metric="precision", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Precision (k = 5)."""
