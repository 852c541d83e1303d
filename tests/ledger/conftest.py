"""Stores for the ledger's journal."""

from pathlib import Path

import pytest

from collapse_ray.artifact.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))
