"""What is retired keeps its record alone, and of the attempts only those that were killed are cleaned away."""

import os
from pathlib import Path

import pytest
from pyarrow import fs
from stored_models import FOLDER, OF, WEIGHTS, attempt_with, paths, published, reopened, rewrite

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store

# Retention ----------------------------------------------------------------------------------------


def test_retired_keeps_its_record_alone(store: Store) -> None:
    record = published(store)
    store.retire("model", OF)
    for view in (store, reopened(store)):
        assert view.find("model", OF) is None
        kept = view.find("model", OF, need_files=False)
        assert kept is not None
        assert kept.retired
        assert (kept.identity, kept.files, kept.created_at) == (record.identity, record.files, record.created_at)
        with pytest.raises(StoreError, match="weights was removed by the retention policy"):
            view.read("model", OF, "weights")
    assert [path for path in paths(store, FOLDER) if not path.endswith("record.json")] == []
    store.retire("model", OF)  # again does no harm


@pytest.mark.slow
def test_retired_can_be_published_again(store: Store) -> None:
    published(store, b"old")
    store.retire("model", OF)
    again = published(store)
    assert not again.retired
    assert reopened(store).find("model", OF) == again
    assert store.read("model", OF, "weights") == WEIGHTS


def test_retired_with_an_altered_record_is_torn(store: Store) -> None:
    published(store)
    store.retire("model", OF)
    path = f"{FOLDER}/record.json"
    store._files.write(path, rewrite(identity={})(store._files.read(path)))
    assert reopened(store).find("model", OF, need_files=False) is None


# What killed attempts leave -----------------------------------------------------------------------


def test_only_old_attempts_are_cleaned(tmp_path: Path) -> None:
    root = tmp_path / "store"
    stores = [Store(str(root)), Store.on(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "objects")]
    for store in stores:
        stands = published(store)
        dead, _ = attempt_with(store, {"weights": b"dead", "sub/notes": b"n"})
        slow, _ = attempt_with(store, {"weights": b"early"})
        for path in tmp_path.rglob("*"):
            os.utime(path, (1e9, 1e9))
        store.write(slow, "more", b"late")  # still writes
        live, record = attempt_with(store, {"weights": b"live"})

        assert store.clean_staging() == [dead.folder]

        assert paths(store, dead.folder) == []
        assert paths(store, slow.folder) == ["more", "weights"]
        assert reopened(store).find("model", OF) == stands
        assert store.publish(live, record) == stands
        assert store.clean_staging() == []


def test_cleaning_an_empty_store(store: Store) -> None:
    assert store.clean_staging() == []


def test_files_of_a_record_that_cannot_be_read_stay(tmp_path: Path) -> None:
    store = Store.on(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "store")
    published(store)
    path = f"{FOLDER}/record.json"
    store._files.write(path, rewrite(schema_version=3)(store._files.read(path)))
    before = paths(store, "")
    assert store.clean_staging(older_than_s=-60) == []
    assert paths(store, "") == before


def test_age_is_unknown_where_the_filesystem_gives_no_times() -> None:
    memory = pytest.importorskip("fsspec.implementations.memory", reason="needs the package fsspec")
    store = Store.on(fs.PyFileSystem(fs.FSSpecHandler(memory.MemoryFileSystem())), "/no-times")
    attempt, _ = attempt_with(store, {"weights": b"x"})
    assert store.clean_staging() == []
    assert paths(store, attempt.folder) == ["weights"]
