"""Definition 1: a catastrophic increase of population risk."""

from typing import ClassVar

from collapse_ray.search.verdict import Signal, VerdictSpec


class Spec(VerdictSpec):
    """Catastrophic increase of population risk: far above that of generation 1."""

    definition: ClassVar[int] = 1

    image: Signal | None = Signal(
        metric="frechet_distance", worse="higher", scale="ratio", tolerance=1.5, threshold=3.0, floor=1e-6
    )
    """The Frechet distance times three. It stands for the risk as FID does in Alemohammad et al. 2023 (MAD), because a
    loss in nats has no natural unit across image sizes."""
    tokens: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.223, threshold=0.405
    )
    """Nats per token: perplexity times 1.25, times 1.5. Fully synthetic text reaches 2.5 times after one generation in
    Zhu et al. 2024 (a quarter real text: 1.3 times), 1.6 times at generation 4 in Gerstgrasser et al. 2024."""
    vector: Signal | None = Signal(
        metric="real_test_loss", worse="higher", scale="difference", tolerance=0.1, threshold=0.5
    )
    """Nats per vector; 0.5 is what a shift of the mean by one standard deviation costs. Under `replace` Dey & Donoho
    2024 see 1.4 and more, under `accumulate` 0.03 and less."""
