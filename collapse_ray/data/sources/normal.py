"""Independent normal numbers: the source of the closed forms, with as many rows as asked for."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from collapse_ray.config.noise import generator
from collapse_ray.config.payload import Payload
from collapse_ray.data.source import RealData, SourceSpec

BLOCK = 256
"""Rows drawn from one stream. Part of what a row is: another value gives other numbers."""


@dataclass(frozen=True)
class NormalRows:
    """Row i is a function of (seed, i), whatever the number of rows."""

    seed: int
    num_samples: int
    shape: tuple[int, ...]
    mean: float
    std: float

    def __len__(self) -> int:
        return self.num_samples

    def read(self, start: int, stop: int) -> np.ndarray:
        stop = min(stop, self.num_samples)
        if stop <= start:
            return np.empty((0, *self.shape))
        first, last = start // BLOCK, (stop - 1) // BLOCK
        blocks = [
            generator("normal", self.seed, block).standard_normal((BLOCK, *self.shape))
            for block in range(first, last + 1)
        ]
        drawn = np.concatenate(blocks)[start - first * BLOCK : stop - first * BLOCK]
        return self.mean + self.std * drawn


class Spec(SourceSpec):
    """N(mean, std^2) in every coordinate."""

    dimension: int = Field(default=1, ge=1)
    """Coordinates of a vector."""
    num_samples: int = Field(default=1000, ge=1)
    """Rows."""
    mean: float = 0.0
    """Mean of every coordinate."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of every coordinate."""
    replicas: int = Field(default=1, ge=1)
    """Independent copies of the experiment in one lineage: payloads are (D,) for 1, else (replicas, D)."""

    def open(self, seed: int) -> RealData:
        shape = (self.dimension,) if self.replicas == 1 else (self.replicas, self.dimension)
        rows = NormalRows(seed, self.num_samples, shape, self.mean, self.std)
        return RealData(payload=Payload("vector", shape), rows=rows, content={"seed": seed})
