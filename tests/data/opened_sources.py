"""Sources that are opened, and their rows as a whole."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from collapse_ray.data.source import RealData, Rows, SourceSpec


def opened(kind: str, seed: int = 0, **fields: Any) -> RealData:
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    return SourceSpec.resolve({"kind": kind, **fields}).open(seed)


def whole(rows: Rows | None) -> np.ndarray:
    assert rows is not None
    return rows.read(0, len(rows))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
