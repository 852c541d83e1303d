"""An empty store on every kind of filesystem."""

from pathlib import Path

import pytest
from pyarrow import fs

from collapse_ray.artifact.store import Store


@pytest.fixture(params=["local", "object_store", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: with renames, without them on real files, through fsspec, and on S3."""
    if request.param == "local":
        return Store(str(tmp_path / "with space and 100%"))
    if request.param == "object_store":
        return Store.on(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "store")
    if request.param == "memory":
        memory = pytest.importorskip("fsspec.implementations.memory", reason="needs the package fsspec")
        return Store.on(fs.PyFileSystem(fs.FSSpecHandler(memory.MemoryFileSystem())), f"/{tmp_path.name}")
    return Store(request.getfixturevalue("bucket").format(tmp_path.name))
