"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

# DeepSpeed reads it when it is imported, and warns without it. On a GPU: `DS_ACCELERATOR=cuda pytest -m gpu`.
os.environ.setdefault("DS_ACCELERATOR", "cpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (MNIST, WikiText-2, Adult); tests that need it skip where it is absent."""
    folder = Path(os.environ.get("COLLAPSE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {folder}; set COLLAPSE_SHARED_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """What a URI says of a local S3 server."""
    server_module = pytest.importorskip("moto.server", reason="needs the package moto[server]")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        yield f"endpoint_override=http://127.0.0.1:{port}&scheme=http"
        server.stop()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """URI, less the folder, of a bucket: made anew, because a test that simulates AWS in this process removes all."""
    fs.FileSystem.from_uri(f"s3://tests?{s3_server}&allow_bucket_creation=true")[0].create_dir("tests")
    return f"s3://tests/{{}}?{s3_server}"
