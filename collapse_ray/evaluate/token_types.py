"""How often each type occurs in the held-out real rows and in the samples of a generator."""

from collections import Counter
from typing import Any, Literal, Self

import numpy as np

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import Summary

Unit = Literal["token", "word"]
"""What is counted: tokens, or the words between white space of byte tokens."""

NUM_BYTES = 256


def check_unit(unit: Unit, payload: Payload, path: str) -> None:
    """Refuses words of tokens that are not bytes.

    Raises:
        InvalidInput: the payload's tokens are not bytes and `unit` is "word".
    """
    if unit == "word" and payload.vocab_size != NUM_BYTES:
        raise InvalidInput(
            f"{path}.unit is 'word', but this payload has a vocabulary of {payload.vocab_size} tokens; words are read "
            f"only from byte tokens (vocabulary of {NUM_BYTES}). Set {path}.unit to 'token', or tokenise by bytes."
        )


class TypeCounts(Summary):
    """Occurrences of each type; a type is a token id, or a word as bytes."""

    def __init__(self, unit: Unit) -> None:
        self.unit: Unit = unit
        self.real: Counter[Any] = Counter()
        self.synthetic: Counter[Any] = Counter()

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(count_types(payload, self.unit))

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(count_types(payload, self.unit))

    def merge(self, other: Self) -> None:
        self.real.update(other.real)
        self.synthetic.update(other.synthetic)


def count_types(payload: np.ndarray, unit: Unit) -> Counter[Any]:
    """Occurrences of each type in tokens (B, T).

    A row is a window of a text, so its first and last word may be cut off and are not counted.
    """
    if unit == "word":
        return Counter(word for row in payload for word in row.astype(np.uint8).tobytes().split()[1:-1])
    types, counts = np.unique(payload, return_counts=True)
    return Counter(dict(zip(types.tolist(), counts.tolist(), strict=True)))
