"""Definition 2: any increase of population risk."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Any increase of population risk over generation 1, which saw real data only.

    The sense of Dohmatob et al. 2024, "Strong Model Collapse". Collapsing as soon as an increase is certain, collapsed
    once it is also large enough to matter. That there is none at all cannot be shown: healthy is an increase too small
    to matter.
    """

    definition: ClassVar[int] = 2

    image: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.0, threshold=1.0
    )
    """Nats per image."""
    tokens: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.0, threshold=0.02
    )
    """Nats per token: perplexity up by 2 %. A quarter of synthetic text gives 5 % in Zhu et al. 2024."""
    vector: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.0, threshold=0.05
    )
    """Nats per vector; `accumulate` stays below 0.03 in Dey & Donoho 2024."""
