"""What one sample is made of, the same for real and synthetic samples of a lineage."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, Self

from collapse_ray.config.spec import Json

PayloadKind = Literal["image", "vector", "tokens"]

DTYPES: dict[PayloadKind, str] = {"image": "uint8", "vector": "float64", "tokens": "int32"}
"""Images are 8-bit as image files are; vectors are double because closed forms are followed to tiny variances."""


@dataclass(frozen=True)
class Payload:
    """Shape and meaning of a payload.

    `shape` is (C, H, W) for images of uint8, (D,) or (R, D) for vectors of float64 where R counts
    independent replicas, (T,) for tokens of int32 below `vocab_size`.
    """

    kind: PayloadKind
    shape: tuple[int, ...]
    vocab_size: int | None = None

    @property
    def dtype(self) -> str:
        return DTYPES[self.kind]

    @property
    def size(self) -> int:
        """Numbers in one payload."""
        return math.prod(self.shape)

    def to_json(self) -> dict[str, Json]:
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: dict) -> Self:
        return cls(kind=value["kind"], shape=tuple(value["shape"]), vocab_size=value["vocab_size"])
