"""Addressed randomness: a number stream is a function of its address, never of what was drawn before."""

import hashlib
import json

import numpy as np


def generator(*address: int | str) -> np.random.Generator:
    """A Philox stream keyed by the address, e.g. (seed, generation, stage).

    Philox is counter-based (Salmon et al. 2011), so streams of different keys are independent.
    """
    return np.random.Generator(np.random.Philox(key=_key(address)))


def sample_generators(sample_ids: np.ndarray, *address: int | str) -> list[np.random.Generator]:
    """One stream for each sample, (N,) ids in [0, 2**64): a function of the address and the id alone.

    All have the address's key; the 256-bit counter starts at 2**192 + sample_id * 2**128. Each sample
    therefore owns 2**128 blocks of four 64-bit words that depend on no other sample, batch or rank, and
    none of them belongs to `generator(*address)`, whose counter starts at 0.
    """
    key = _key(address)
    counters = (np.array([0, 0, int(sample_id), 1], dtype=np.uint64) for sample_id in sample_ids)
    return [np.random.Generator(np.random.Philox(key=key, counter=counter)) for counter in counters]


def torch_seed(*address: int | str) -> int:
    """A 63-bit seed for a torch generator at this address."""
    return int(_key(address)[0]) >> 1


def _key(address: tuple[int | str, ...]) -> np.ndarray:
    """128 bits of SHA-256 as uint64 (2,); from a list of integers NumPy would make doubles, and drop bits."""
    digest = hashlib.sha256(json.dumps(address).encode()).digest()
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
