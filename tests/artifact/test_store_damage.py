"""What is torn is noticed, named and set aside, on every kind of filesystem, and never used."""

from typing import Any

import pytest
from stored_models import FOLDER, OF, WEIGHTS, path_of, paths, published, reopened, rewrite

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import OtherSchema, StoreError
from collapse_ray.artifact.store import Store


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.slow
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
