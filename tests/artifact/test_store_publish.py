"""What is published is found whole, on every kind of filesystem, and of two attempts at once one stays."""

import hashlib
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest
from stored_models import FOLDER, OF, WEIGHTS, attempt_with, path_of, paths, published, reopened

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record, StoreError
from collapse_ray.artifact.store import Store

# What is published is found -----------------------------------------------------------------------


def test_nothing_is_found_in_an_empty_store(store: Store) -> None:
    assert store.find("model", OF) is None
    assert store.find("model", OF, need_files=False) is None
    with pytest.raises(StoreError, match=r"record.json does not exist"):
        store.record("model", OF)


def test_published_is_found_and_read(store: Store) -> None:
    store.check_writable()
    record = published(store)
    other = reopened(store)
    assert other.find("model", OF) == other.record("model", OF) == record
    assert other.read("model", OF, "weights") == WEIGHTS
    assert [entry.num_bytes for entry in record.files] == [1024, 1]
    assert other.find("samples", OF) is None
    assert paths(store, "staging") == []
    assert paths(store, "") == sorted(
        [f"{FOLDER}/record.json", *(path_of(store, record, n) for n in ("weights", "notes"))]
    )


def test_an_artifact_may_have_no_files(store: Store) -> None:
    record = store.publish(*attempt_with(store, {}, metrics={"real_test_loss": None}))
    assert reopened(store).find("model", OF) == record


def test_unpublished_attempt_is_not_found(store: Store) -> None:
    attempt_with(store, {"weights": WEIGHTS})
    assert store.find("model", OF) is None


def test_unknown_file_is_named(store: Store) -> None:
    published(store)
    with pytest.raises(StoreError, match="wieghts does not exist"):
        store.read("model", OF, "wieghts")


def test_record_must_be_of_the_attempt(store: Store) -> None:
    attempt, record = attempt_with(store, {"weights": WEIGHTS})
    with pytest.raises(ValueError, match="the attempt is at model"):
        store.publish(attempt, Record(**{**record.__dict__, "identity": {"stage": "train", "seed": 1}}))
    with pytest.raises(ValueError, match="the attempt is at model"):
        store.publish(attempt, Record(**{**record.__dict__, "kind": "samples"}))
    assert store.find("model", OF) is None


def test_record_of_files_that_were_not_written_is_not_published(store: Store) -> None:
    """A rank died, or its file never arrived."""
    attempt, record = attempt_with(store, {"weights": WEIGHTS})
    missing, other_size = store.begin("model", OF), store.begin("model", OF)
    store.write(other_size, "weights", b"short")
    for incomplete in (missing, other_size):
        with pytest.raises(StoreError, match="weights was not written as its record says"):
            store.publish(incomplete, record)
    assert store.find("model", OF) is None
    assert store.publish(attempt, record).files == record.files


def test_write_returns_what_sha256_says(store: Store) -> None:
    entry = store.write(store.begin("model", OF), "weights", WEIGHTS)
    assert (entry.num_bytes, entry.sha256) == (1024, hashlib.sha256(WEIGHTS).hexdigest())


# Two at once --------------------------------------------------------------------------------------


def test_of_two_attempts_the_first_stays(store: Store) -> None:
    """Their files differ, as those of two GPU runs may, and are not mixed."""
    first, second = attempt_with(store, {"weights": b"first"}), attempt_with(store, {"weights": b"second!"})
    stands = store.publish(*second)
    assert reopened(store).publish(*first) == stands
    assert reopened(store).read("model", OF, "weights") == b"second!"
    assert paths(store, "staging") == []
    assert [path for path in paths(store, FOLDER) if path.endswith("weights")] == [
        path_of(store, stands, "weights").removeprefix(f"{FOLDER}/")
    ]


@pytest.mark.slow
def test_publishing_over_a_torn_artifact_replaces_it(store: Store) -> None:
    record = published(store, b"old" * 100)
    store._files.write(path_of(store, record, "weights"), b"")
    other = reopened(store)
    assert published(other).files != record.files
    assert reopened(store).read("model", OF, "weights") == WEIGHTS


def test_publishing_where_a_record_was_lost_replaces_it(store: Store) -> None:
    published(store, b"old")
    store._files.delete(f"{FOLDER}/record.json")
    published(reopened(store))
    assert reopened(store).read("model", OF, "weights") == WEIGHTS


@pytest.mark.slow
@pytest.mark.parametrize("store", ["local", "s3"], indirect=True)  # the others write a record in more than one step
def test_many_threads_publish_the_same(store: Store) -> None:
    count = 8
    barrier = threading.Barrier(count)
    results: list[bytes] = []

    def run(index: int) -> None:
        mine = reopened(store)
        attempt, record = attempt_with(mine, {"weights": b"%d" % index * 50}, host=str(index))
        barrier.wait()
        mine.publish(attempt, record)
        results.append(mine.read("model", OF, "weights"))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == count
    record = reopened(store).find("model", OF)
    assert record is not None
    assert reopened(store).read("model", OF, "weights") == record.host.encode() * 50
    assert paths(store, "torn") == []


def _publish_until_killed(root: str, started: Any) -> None:
    store = Store(root)
    for seed in range(1_000_000):
        identity = {"stage": "train", "seed": seed}
        attempt = store.begin("model", fingerprint(identity))
        entry = store.write(attempt, "weights", b"%d" % seed * 20_000)
        store.publish(attempt, Record("model", fingerprint(identity), identity, {}, (entry,), 1.0))
        started.set()


@pytest.mark.slow
def test_killed_process_leaves_only_whole_artifacts(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        started = context.Event()
        process = context.Process(target=_publish_until_killed, args=(str(tmp_path), started))
        process.start()
        assert started.wait(60)
        process.kill()
        process.join()
    store = Store(str(tmp_path))
    found = [path.name for path in (tmp_path / "artifacts" / "model").iterdir()]
    assert found
    assert all(store.find("model", of) is not None for of in found)
    assert not (tmp_path / "torn").exists()
