"""What generated text says and real text does not: hallucinations, as far as short sequences show them."""

from typing import ClassVar, Self

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import ALL_GROUPS, Share, even_halves, share_stderr_of_halves
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.ngrams import update_ngrams
from collapse_ray.evaluate.occurrences import GROUP_BITS, Occurrences, at

ORDERS = (2, 3)


class Spec(MetricSpec):
    """Share of the n-grams of the samples that occur nowhere in the held-out real rows.

    It is the n-gram novelty of McCoy et al. 2023 ("How Much Do Language Models Copy From Their Training Data?
    Evaluating Linguistic Novelty in Text Generation Using RAVEN"), against held-out instead of training text; n-grams
    do not cross rows. Real text has novel n-grams, too: fewer, the more rows are held out. Compare lineages on the same
    held-out rows, and with generation 1. It rises when the samples leave the language, and falls when they keep to its
    commonest phrases.

    `novel_*_stderr` is the standard error over the draw of the samples and of the held-out rows
    (`evaluate/halves.py`).
    """

    names: ClassVar[tuple[str, ...]] = tuple(f"novel_{n}{suffix}" for n in ORDERS for suffix in ("", "_stderr"))

    def empty(self, payload: Payload) -> Summary | None:
        return None if payload.vocab_size is None else NovelNgrams(payload.vocab_size)


class NovelNgrams(Summary):
    """The n-grams of both sides, for each n."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.real = {n: Occurrences() for n in ORDERS}
        self.synthetic = {n: Occurrences() for n in ORDERS}

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        for n, seen in self.real.items():
            update_ngrams(seen, sample_ids, payload, n, self.vocab_size)

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        for n, seen in self.synthetic.items():
            update_ngrams(seen, sample_ids, payload, n, self.vocab_size)

    def merge(self, other: Self) -> None:
        for n in ORDERS:
            self.real[n].merge(other.real[n])
            self.synthetic[n].merge(other.synthetic[n])

    def compute(self) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for n in ORDERS:
            values[f"novel_{n}"], values[f"novel_{n}_stderr"] = _novelty(self.real[n], self.synthetic[n])
        return values


def _novelty(real: Occurrences, synthetic: Occurrences) -> tuple[float | None, float | None]:
    """The share and its standard error."""
    samples, known = synthetic.table(), real.table()
    groups_of_real = at(known.groups, known.index_of(samples.entries >> GROUP_BITS))

    def novel(groups: np.uint64) -> Share:
        total = synthetic.total(groups)
        if not total or not real.total(groups):
            return Share(None, total)
        is_novel = (samples.entry_masks & groups > 0) & (groups_of_real & groups == 0)
        return Share(int(samples.entry_counts[is_novel].sum()) / total, total)

    return novel(ALL_GROUPS).value, share_stderr_of_halves(novel, even_halves(real.sizes, synthetic.sizes))
