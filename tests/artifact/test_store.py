"""The store's promises, on every kind of filesystem: what is found is whole, what is torn is never used."""

import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import ArtifactEnergy, OtherSchema, Record, StoreError
from collapse_ray.artifact.store import Attempt, Store, document_json

IDENTITY = {"stage": "train", "seed": 0}
OF = fingerprint(IDENTITY)
FOLDER = f"artifacts/model/{OF}"
WEIGHTS = bytes(range(256)) * 4


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


def attempt_with(store: Store, files: dict[str, bytes], **fields: Any) -> tuple[Attempt, Record]:
    attempt = store.begin("model", OF)
    entries = tuple(store.write(attempt, name, content) for name, content in files.items())
    record = Record(
        kind="model", fingerprint=OF, identity=IDENTITY, parents={}, files=entries, duration_s=1.0, **fields
    )
    return attempt, record


def published(store: Store, weights: bytes = WEIGHTS) -> Record:
    return store.publish(*attempt_with(store, {"weights": weights, "notes": b"n"}))


def reopened(store: Store) -> Store:
    """The store as another process sees it, which has verified nothing yet."""
    return pickle.loads(pickle.dumps(store))


def paths(store: Store, folder: str) -> list[str]:
    """The files anywhere below a folder."""
    found = store._files.below(folder, recursive=True)
    return sorted(path for path, info in found.items() if info.type == fs.FileType.File)


def path_of(store: Store, record: Record, name: str) -> str:
    return f"{FOLDER}/{name}" if record.attempt is None else f"{FOLDER}/{record.attempt}/{name}"


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


# What is torn is set aside ------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def rewrite(**change: Any) -> Any:
    return lambda content: json.dumps({**json.loads(content), **change}).encode()


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("record.json", cut, "is not a record"),
        ("record.json", lambda content: b"\xff\xfe" + content, "is not a record"),
        ("record.json", lambda content: b"", "is not a record"),
        ("record.json", rewrite(identity={"stage": "train", "seed": 1}), "its record describes"),
        ("record.json", rewrite(fingerprint="0" * 32), "its record describes"),
        ("record.json", rewrite(kind="samples"), "its record describes"),
        ("record.json", rewrite(identity={"seed": float("nan")}), "its identity has no fingerprint"),
        ("weights", flip, "does not have the checksum of its record"),
        ("weights", cut, "the file weights has 512 bytes, its record says 1024"),
        ("weights", None, "the file weights is missing"),
    ],
    ids=[
        "half-record",
        "no-text",
        "empty-record",
        "identity",
        "address",
        "kind",
        "nan",
        "flipped",
        "truncated",
        "missing",
    ],
)
def test_damage_is_noticed_named_and_repaired(
    store: Store, name: str, damage: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = published(store)
    path = f"{FOLDER}/record.json" if name == "record.json" else path_of(store, record, name)
    if damage is None:
        store._files.delete(path)
    else:
        content = store._files.read(path)
        assert content is not None
        store._files.write(path, damage(content))
    other = reopened(store)

    assert other.find("model", OF) is None
    assert words in caplog.text
    assert FOLDER in caplog.text
    assert other.find("model", OF) is None  # and stays away
    assert len([path for path in paths(store, "torn") if path.endswith("record.json")]) == 1

    again = published(other)
    assert reopened(store).find("model", OF) == again
    assert reopened(store).read("model", OF, "weights") == WEIGHTS


def test_copy_under_another_fingerprint_is_not_taken_for_it(store: Store) -> None:
    """Even by a store that has verified the original."""
    record = published(store)
    other = fingerprint({"stage": "train", "seed": 1})
    for path in paths(store, FOLDER):
        store._files.write(f"artifacts/model/{other}/{path}", store._files.read(f"{FOLDER}/{path}") or b"")
    assert store.find("model", other) is None
    assert store.find("model", OF) == record


def test_other_schema_version_is_refused_and_untouched(store: Store) -> None:
    published(store)
    path = f"{FOLDER}/record.json"
    newer = rewrite(schema_version=3, layout="new")(store._files.read(path))
    store._files.write(path, newer)
    before = paths(store, "")
    for use in (store.find, store.record, store.retire):
        with pytest.raises(OtherSchema, match="schema version 3"):
            use("model", OF)
    assert paths(store, "") == before
    assert store._files.read(path) == newer


def test_reading_notices_what_changed_after_the_check(store: Store) -> None:
    record = published(store)
    assert store.find("model", OF) == record
    store._files.write(path_of(store, record, "weights"), flip(WEIGHTS))
    with pytest.raises(StoreError, match="weights was altered after it was written; run the same command again"):
        store.read("model", OF, "weights")
    store._files.delete(path_of(store, record, "weights"))
    with pytest.raises(StoreError, match="weights does not exist; run the same command again"):
        store.read("model", OF, "weights")


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


# What cannot be written ---------------------------------------------------------------------------


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


# Beside artifacts ---------------------------------------------------------------------------------


def test_documents(store: Store) -> None:
    assert store.read_document("lineages/a.json") is None
    assert store.list_documents("lineages") == []
    for content in (b"1", b"22", b""):
        store.write_document("lineages/a.json", content)
        assert store.read_document("lineages/a.json") == content
    store.write_document("lineages/b.json", b"b")
    store.write_document("lineages/deeper/c.json", b"c")
    assert store.list_documents("lineages") == ["lineages/a.json", "lineages/b.json"]


def test_folders(store: Store, tmp_path: Path) -> None:
    local, back = tmp_path / "local", tmp_path / "back"
    (local / "rank-0").mkdir(parents=True)
    (local / "rank-0" / "optim").write_bytes(WEIGHTS)
    (local / "step").write_text("3")
    store.write_document("checkpoints/k/other-rank", b"o")
    store.upload_folder(str(local), "checkpoints/k")
    store.upload_folder(str(local), "checkpoints/k")
    store.download_folder("checkpoints/k", str(back))
    found = {str(path.relative_to(back)): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert found == {"rank-0/optim": WEIGHTS, "step": b"3", "other-rank": b"o"}
    store.delete_folder("checkpoints/k")
    store.delete_folder("checkpoints/k")
    assert paths(store, "checkpoints") == []


def test_document_json_is_canonical() -> None:
    assert document_json({"b": 1, "a": None}) == b'{\n "a": null,\n "b": 1\n}'
    with pytest.raises(ValueError, match="JSON"):
        document_json({"a": float("nan")})


def test_write_returns_what_sha256_says(store: Store) -> None:
    entry = store.write(store.begin("model", OF), "weights", WEIGHTS)
    assert (entry.num_bytes, entry.sha256) == (1024, hashlib.sha256(WEIGHTS).hexdigest())


def test_relative_and_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Store("store").uri == str(tmp_path / "store")
    assert Store("~/store").uri == str(tmp_path / "home" / "store")


def test_energy_lies_beside_the_record_and_survives_what_rewrites_it(store: Store) -> None:
    of = published(store).fingerprint
    assert store.energy("model", of) is None
    store.write_energy("model", of, ArtifactEnergy(2.5, "estimated", unmeasured_s=1.0))
    store.write_energy("model", of, ArtifactEnergy(3.5, "counter"))
    store.retire("model", of)
    assert store.energy("model", of) == ArtifactEnergy(3.5, "counter")
    found = store.find("model", of, need_files=False)
    assert found is not None and found.retired


def test_energy_that_cannot_be_read_is_named(store: Store) -> None:
    of = published(store).fingerprint
    store._files.write(f"artifacts/model/{of}/energy.json", b"{}")
    with pytest.raises(StoreError, match=r"energy\.json cannot be read"):
        store.energy("model", of)
