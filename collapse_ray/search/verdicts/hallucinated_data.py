"""Definition 8: hallucinated data appears."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Samples that the real distribution would not give.

    Precision is the share of samples within the real manifold (Kynkaanniemi et al. 2019); biased sampling can raise it
    while everything else collapses (Alemohammad et al. 2023). For tokens it is the share of bigrams that real text does
    not have (McCoy et al. 2023), which biased sampling lowers just so.
    """

    definition: ClassVar[int] = 8

    image: Signal | None = Signal(
        metric="precision", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Precision (k = 5)."""
    tokens: Signal | None = Signal(metric="novel_2", worse="higher", scale="difference", tolerance=0.05, threshold=0.15)
    """Novel bigrams. In WikiText-2 (byte-level BPE of 4,096 tokens, 2,048 held-out rows of 64) 32 % of real bigrams are
    novel; each hundredth of the tokens that is replaced at random adds .01: 5 % and 16 % of them reach the limits."""
    vector: Signal | None = Signal(
        metric="precision", worse="lower", scale="ratio", tolerance=0.9, threshold=0.7, floor=0.01
    )
    """Precision (k = 5)."""
