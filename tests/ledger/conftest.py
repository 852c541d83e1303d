"""Stores for the ledger's journal."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from collapse_ray.artifact.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """URI, less the folder, of a bucket on a local S3 server."""
    server_module = pytest.importorskip("moto.server", reason="needs the package moto[server]")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        where = f"endpoint_override=http://127.0.0.1:{port}&scheme=http"
        fs.FileSystem.from_uri(f"s3://journals?{where}&allow_bucket_creation=true")[0].create_dir("journals")
        yield f"s3://journals/{{}}?{where}"
        server.stop()


@pytest.fixture(params=["local", "object_store", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: with renames, without them on real files, and on S3."""
    if request.param == "local":
        return Store(str(tmp_path / "with space"))
    if request.param == "object_store":
        return Store.on(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "store")
    return Store(request.getfixturevalue("bucket").format(tmp_path.name))
