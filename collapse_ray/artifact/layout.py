"""Where an artifact lies in a store, whether it is whole, and how a torn one gets out of the way."""

import logging
import uuid

from collapse_ray.artifact.files import Files
from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Kind, Record, StoreError

log = logging.getLogger(__name__)

RECORD = "record.json"
ENERGY_FILE = "energy.json"
"""Joules beside the record: known later, and written by others than those who publish and retire."""
ARTIFACTS = "artifacts"
TORN = "torn"


def artifact_folder(kind: Kind, of: str) -> str:
    """The folder that holds the record."""
    return f"{ARTIFACTS}/{kind}/{of}"


def files_folder(record: Record) -> str:
    """The folder that holds the files."""
    folder = artifact_folder(record.kind, record.fingerprint)
    return folder if record.attempt is None else f"{folder}/{record.attempt}"


def damage(files: Files, record: Record, kind: Kind, of: str) -> str | None:
    """The first thing in which an artifact differs from its record; None when it is whole."""
    try:
        described = fingerprint(record.identity)
    except ValueError as error:
        return f"its identity has no fingerprint: {error}"
    if (record.kind, record.fingerprint, described) != (kind, of, of):
        return f"its record describes {record.kind} {described}, not {kind} {of}"
    for entry in () if record.retired else record.files:
        digest = files.digest(f"{files_folder(record)}/{entry.name}")
        if digest is None:
            return f"the file {entry.name} is missing"
        num_bytes, sha256 = digest
        if num_bytes != entry.num_bytes:
            return f"the file {entry.name} has {num_bytes} bytes, its record says {entry.num_bytes}"
        if sha256 != entry.sha256:
            return f"the file {entry.name} does not have the checksum of its record"
    return None


def set_aside(files: Files, folder: str, why: str) -> None:
    """Moves an artifact to `torn/`; on an object store its record alone, which ends it."""
    aside = f"{TORN}/{folder.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
    log.warning("set aside %s: %s. What was there is in %s", folder, why, aside)
    if not files.renames:
        content = files.read(f"{folder}/{RECORD}")
        if content is not None:
            files.write(f"{aside}/{RECORD}", content)
            files.delete(f"{folder}/{RECORD}")
        return
    try:
        files.move_folder(folder, aside)
    except StoreError as error:
        if not isinstance(error.__cause__, FileNotFoundError):  # else another process was faster
            raise
