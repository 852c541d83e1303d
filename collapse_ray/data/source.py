"""What a source of real data must offer."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Json


class Rows(Protocol):
    """Random access to the rows of real data."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Payloads of rows [start, stop): an array (N, *payload.shape) of the payload's dtype."""
        ...


@dataclass(frozen=True)
class ArrayRows:
    """Rows that fit into memory."""

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


@dataclass(frozen=True)
class RealData:
    """An opened source.

    `holdout` is set where the source has a test split of its own; otherwise `rows` are split by sample id.
    `content` is what enters the identity beside the spec: checksums of the files read, so that a moved file is the
    same data and an edited one is not. `files` are kept with the data (a trained tokenizer, say).
    """

    payload: Payload
    rows: Rows
    holdout: Rows | None = None
    content: dict[str, Json] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class SourceSpec(Plugin):
    """A distribution of real data."""

    folder: ClassVar[str] = "collapse_ray.data.sources"

    @abstractmethod
    def open(self, seed: int) -> RealData:
        """Opens the data; `seed` is used by analytic sources only.

        Raises:
            InvalidInput: the data cannot be used as given; says what was found, what is allowed, what to do.
        """
