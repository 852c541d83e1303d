"""N-grams of tokens as numbers."""

import numpy as np

from collapse_ray.evaluate.occurrences import TYPE_BITS, Occurrences
from collapse_ray.evaluate.subsample import mixed


def update_ngrams(seen: Occurrences, sample_ids: np.ndarray, tokens: np.ndarray, n: int, vocab_size: int) -> None:
    """Adds the n-grams of tokens (B, T) with ids (B,); n-grams do not cross rows, and rows below n tokens have none.

    An n-gram is a number in base `vocab_size`: three digits of up to 2**19. Above, and up to 2**21, it is a hash of
    that number, such that a million n-grams collide with a probability of 3e-6.
    """
    if tokens.shape[1] < n:
        return
    digits = vocab_size ** np.arange(n, dtype=np.int64)
    codes = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.int64), n, axis=1) @ digits
    if vocab_size**n > 2**TYPE_BITS:
        codes = mixed(codes) >> np.uint64(64 - TYPE_BITS)
    seen.update(np.repeat(sample_ids, codes.shape[1]), codes.ravel())
