"""What cannot be written is not published, and the message says why and what to do."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stored_models import IDENTITY, OF, WEIGHTS, paths, published

from collapse_ray.artifact.record import Record, StoreError
from collapse_ray.artifact.store import Store


@pytest.mark.parametrize("folder", ["file/below", "/proc/store"])
def test_unwritable_store_says_so(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    store = Store(str(tmp_path / folder))
    with pytest.raises(StoreError, match=rf"cannot write .* in the store .*{folder}: .*run\.store="):
        store.check_writable()
    with pytest.raises(StoreError, match=r"run\.store="):
        store.write(store.begin("model", OF), "weights", b"x")


def test_missing_bucket_says_so(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"NO_SUCH_BUCKET.*run\.store="):
        Store(bucket.replace("s3://tests", "s3://nowhere").format("x")).check_writable()


def test_unknown_uri_says_so() -> None:
    with pytest.raises(StoreError, match=r"cannot open the store: .*Give run\.store a folder or a URI"):
        Store("nosuch://x/y")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a file that is always full")
@pytest.mark.parametrize("name", ["weights", "record.json"])
def test_full_disk_publishes_nothing(tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path))
    attempt = store.begin("model", OF)
    full = tmp_path / attempt.folder / name
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")

    with pytest.raises(StoreError, match="No space left") as caught:
        entry = store.write(attempt, "weights", WEIGHTS)
        store.publish(attempt, Record("model", OF, IDENTITY, {}, (entry,), 1.0))

    assert str(tmp_path) in str(caught.value)
    assert "Free space there or give another with run.store=…, then run the same command again" in str(caught.value)
    assert store.find("model", OF) is None
    assert published(store)


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """Every write past this size fails halfway, as on a disk that fills up."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_half_a_file_is_removed_and_the_former_document_stays(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_document("lineages/a.json", b"former")
    attempt = store.begin("model", OF)
    with file_size_limit(4096):
        with pytest.raises(StoreError, match="Free space there"):
            store.write(attempt, "weights", WEIGHTS * 100)
        with pytest.raises(StoreError, match="Free space there"):
            store.write_document("lineages/a.json", WEIGHTS * 100)
    assert paths(store, "") == ["lineages/a.json"]
    assert store.read_document("lineages/a.json") == b"former"
    assert store.find("model", OF) is None


def test_messages_do_not_show_secrets() -> None:
    store = Store("s3://key:secret@bucket/x?endpoint_override=http://127.0.0.1:9&scheme=http&region=r")
    assert store._files.uri.startswith("s3://bucket/x")
