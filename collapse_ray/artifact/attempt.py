"""How files become an artifact: written where nobody looks, then published in one step."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyarrow import fs

from collapse_ray.artifact.files import STAGING, Files
from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.layout import ARTIFACTS, RECORD, artifact_folder, set_aside
from collapse_ray.artifact.record import Kind, Record, StoreError


@dataclass(frozen=True)
class Attempt:
    """A place where the ranks of one stage write files before they are published together."""

    kind: Kind
    fingerprint: str
    folder: str

    @property
    def token(self) -> str:
        """What tells it from other attempts at the same fingerprint."""
        return self.folder[-8:]


def new_attempt(files: Files, kind: Kind, of: str) -> Attempt:
    """Where renames are one step, in `staging/`; else a folder of its own below the artifact's."""
    token = uuid.uuid4().hex[:8]
    return Attempt(kind, of, f"{STAGING}/{of}-{token}" if files.renames else f"{artifact_folder(kind, of)}/{token}")


@contextmanager
def removing(files: Files, attempt: Attempt) -> Iterator[None]:
    """Removes an attempt when the block fails."""
    try:
        yield
    except BaseException:
        files.delete(attempt.folder)
        raise


def publish(files: Files, attempt: Attempt, record: Record, standing: Callable[[], Record | None]) -> Record:
    """Makes an attempt the artifact.

    Args:
        files: the store's.
        attempt: holds all files.
        record: what they are.
        standing: finds the whole artifact that is there already, and sets a torn one aside.

    Returns:
        The record that stands.

    Raises:
        ValueError: the record is not one of this attempt.
        StoreError: a file that the record names was not written, or the store cannot be written.
    """
    _require_own(attempt, record)
    _require_written(files, attempt, record)
    if files.renames:
        return _publish_by_rename(files, attempt, record, standing)
    return _publish_by_record(files, attempt, dataclasses.replace(record, attempt=attempt.token), standing)


def _require_own(attempt: Attempt, record: Record) -> None:
    of = fingerprint(record.identity)
    if (record.kind, record.fingerprint, of) != (attempt.kind, attempt.fingerprint, attempt.fingerprint):
        raise ValueError(
            f"the record says {record.kind} {record.fingerprint} and its identity gives {of}; "
            f"the attempt is at {attempt.kind} {attempt.fingerprint}"
        )


def _require_written(files: Files, attempt: Attempt, record: Record) -> None:
    written = files.below(attempt.folder, recursive=True)
    for entry in record.files:
        if entry.name not in written or written[entry.name].size != entry.num_bytes:
            raise StoreError(f"{attempt.folder}/{entry.name} was not written as its record says; run again")


def _publish_by_rename(files: Files, attempt: Attempt, record: Record, standing: Callable[[], Record | None]) -> Record:
    """The folder appears with its record in it, or not at all."""
    folder = artifact_folder(attempt.kind, attempt.fingerprint)
    with removing(files, attempt):
        files.write(f"{attempt.folder}/{RECORD}", record.to_json().encode())
    while not files.move_folder(attempt.folder, folder):
        other = standing()
        if other is not None:
            files.delete(attempt.folder)
            return other
        if files.below(folder, recursive=False):
            set_aside(files, folder, "it was retired or lost its record, and was made again")
    return record


def _publish_by_record(files: Files, attempt: Attempt, record: Record, standing: Callable[[], Record | None]) -> Record:
    """The record appears and names the attempt's folder.

    An object store has no "create unless it exists" that pyarrow offers: of two that look at the same
    moment the later record stands. Each is whole, and the files of the other stay until they are cleaned.
    """
    other = standing()
    if other is not None:
        files.delete(attempt.folder)
        return other
    files.write(f"{artifact_folder(attempt.kind, attempt.fingerprint)}/{RECORD}", record.to_json().encode())
    return record


def abandoned(files: Files, older_than_s: float) -> list[str]:
    """Unpublished attempts in which nothing was written for so long; those of unknown age are not among them."""
    base, depth = (STAGING, 1) if files.renames else (ARTIFACTS, 3)
    newest: dict[str, float] = {}
    for path, info in files.below(base, recursive=True).items():
        parts = path.split("/")
        if files.renames or (info.type == fs.FileType.File and len(parts) > depth):
            folder = "/".join([base, *parts[:depth]])
            written = time.time() if info.mtime_ns is None else info.mtime_ns / 1e9
            newest[folder] = max(newest.get(folder, 0.0), written)
    old = [folder for folder, written in newest.items() if time.time() - written > older_than_s]
    return sorted(folder for folder in old if files.renames or not _is_published(files, folder))


def _is_published(files: Files, folder: str) -> bool:
    artifact, _, token = folder.rpartition("/")
    content = files.read(f"{artifact}/{RECORD}")
    if content is None:
        return False
    try:
        return Record.from_json(content, f"{artifact}/{RECORD}").attempt == token
    except StoreError:  # of another version, or torn: what it names cannot be known, so it stays
        return True
