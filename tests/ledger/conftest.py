"""Stores for the ledger's journal."""

from pathlib import Path

import pytest
from pyarrow import fs

from collapse_ray.artifact.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(params=["local", "object_store", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: with renames, without them on real files, and on S3."""
    if request.param == "local":
        return Store(str(tmp_path / "with space"))
    if request.param == "object_store":
        return Store.on(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "store")
    return Store(request.getfixturevalue("bucket").format(tmp_path.name))
