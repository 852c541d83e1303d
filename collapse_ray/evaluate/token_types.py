"""How often each type occurs in the held-out real rows and in the samples of a generator."""

import hashlib
from typing import Literal, Self

import numpy as np

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import even_halves
from collapse_ray.evaluate.metric import Summary
from collapse_ray.evaluate.occurrences import TYPE_BITS, Occurrences

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
    """Occurrences of each type on both sides; a type is a token id, or the hash of a word."""

    def __init__(self, unit: Unit) -> None:
        self.unit: Unit = unit
        self.real = Occurrences()
        self.synthetic = Occurrences()

    def update_real(self, sample_ids: np.ndarray, payload: np.ndarray, loss: np.ndarray) -> None:
        self.real.update(*_with_ids(sample_ids, payload, self.unit))

    def update_synthetic(self, sample_ids: np.ndarray, payload: np.ndarray) -> None:
        self.synthetic.update(*_with_ids(sample_ids, payload, self.unit))

    def merge(self, other: Self) -> None:
        self.real.merge(other.real)
        self.synthetic.merge(other.synthetic)

    def halves(self) -> np.ndarray:
        """Half-samples (S, 2) of the rows of both sides."""
        return even_halves(self.real.sizes, self.synthetic.sizes)


def _with_ids(sample_ids: np.ndarray, payload: np.ndarray, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the rows (N,), and types (N,), of all that occurs in tokens (B, T)."""
    if unit == "token":
        return np.repeat(sample_ids, payload.shape[1]), payload.ravel().astype(np.int64)
    words = [words_of(row) for row in payload]
    hashes = [_hash(word) for row in words for word in row]
    return np.repeat(sample_ids, [len(row) for row in words]), np.array(hashes, np.int64)


def words_of(row: np.ndarray) -> list[bytes]:
    """Words of byte tokens (T,). A row is a window of a text: its first and last word may be cut, and are left out."""
    return row.astype(np.uint8).tobytes().split()[1:-1]


def _hash(word: bytes) -> int:
    """57 bits: a million words collide with a probability of 3e-6."""
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest()) >> (64 - TYPE_BITS)
