"""Specs that are written to a file and read."""

from pathlib import Path
from typing import Any

from collapse_ray.config.load import read_mapping


def read(path: Path, content: str, *overrides: str) -> dict[str, Any]:
    path.write_text(content)
    return read_mapping(path, overrides)
