"""Definition 7: the real tail disappears."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """The tail of the real data that the samples no longer hold: what Shumailov et al. 2024 call early collapse."""

    definition: ClassVar[int] = 7

    image: Signal | None = Signal(
        metric="coverage", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Coverage (Naeem et al. 2020): real images with a sample near them. All count alike, those of the tail too."""
    tokens: Signal | None = Signal(
        metric="rare_token_survival", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Rare types that still occur. At generation 10 CollapseTracker counts .338 with a quarter of synthetic text, .198
    with nothing else: .59 of it."""
    vector: Signal | None = Signal(
        metric="coverage", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Coverage: real rows with a sample near them."""
