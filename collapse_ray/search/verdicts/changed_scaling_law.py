"""Definition 5: a change of the scaling law."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """A scaling exponent that falls: more data helps a generation less than it helped generation 1.

    The sense of Dohmatob et al. 2024, "A Tale of Tails: Model Collapse as a Change of Scaling Laws".
    Needs the arms of at least three pool sizes; `search/scaling.py` makes the metric of them. Not measured otherwise.
    """

    definition: ClassVar[int] = 5

    image: Signal | None = Signal(
        metric="scaling_exponent", worse="lower", scale="difference", tolerance=0.01, threshold=0.05
    )
    """Exponent of the loss in the size of the pool."""
    tokens: Signal | None = Signal(
        metric="scaling_exponent", worse="lower", scale="difference", tolerance=0.01, threshold=0.05
    )
    """Exponent of the loss in the size of the pool; 0.05 is half of the 0.095 of Kaplan et al. 2020."""
    vector: Signal | None = Signal(
        metric="scaling_exponent", worse="lower", scale="difference", tolerance=0.01, threshold=0.05
    )
    """Exponent of the loss in the size of the pool."""
