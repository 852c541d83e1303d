"""A model that is published in a store, and what a store holds of it."""

import json
import pickle
from typing import Any

from pyarrow import fs

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Attempt, Store

IDENTITY = {"stage": "train", "seed": 0}
OF = fingerprint(IDENTITY)
FOLDER = f"artifacts/model/{OF}"
WEIGHTS = bytes(range(256)) * 4


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


def rewrite(**change: Any) -> Any:
    return lambda content: json.dumps({**json.loads(content), **change}).encode()
