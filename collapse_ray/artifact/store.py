"""Content-addressed artifacts on any pyarrow filesystem: a local folder, NFS, s3://, gs://."""

import dataclasses
import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self

from pyarrow import ArrowInvalid, fs
from pydantic import ValidationError

from collapse_ray.artifact.attempt import Attempt, abandoned, new_attempt, publish, removing
from collapse_ray.artifact.files import Files
from collapse_ray.artifact.layout import (
    ARTIFACTS,
    ENERGY_FILE,
    RECORD,
    artifact_folder,
    damage,
    files_folder,
    set_aside,
)
from collapse_ray.artifact.record import ENERGY, ArtifactEnergy, FileEntry, Kind, OtherSchema, Record, StoreError

log = logging.getLogger(__name__)

ABANDONED_AFTER_S = 24 * 3600.0


class Store:
    """Reads verify checksums; publishing is atomic; what is torn is set aside, never used.

    Where renames are one step, an attempt is written to `staging/` and renamed as a whole. On object
    stores it is written to a folder of its own below the artifact's, and the record, written last,
    names that folder. Both ways attempts never share a file, and nothing counts without its record.
    """

    def __init__(self, uri: str) -> None:
        """Opens a store.

        Args:
            uri: a local path or any URI that `pyarrow.fs.FileSystem.from_uri` knows.

        Raises:
            StoreError: the URI is of no known filesystem.
        """
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            filesystem, root = fs.FileSystem.from_uri(self.uri)
        except (ArrowInvalid, OSError) as error:
            raise StoreError(f"cannot open the store: {error}. Give run.store a folder or a URI like s3://…") from error
        self._use(filesystem, root, (type(self), (self.uri,)))

    @classmethod
    def on(cls, filesystem: fs.FileSystem, root: str) -> Self:
        """A store on an opened filesystem, for those that no URI names (an fsspec one, say)."""
        store = cls.__new__(cls)
        store.uri = f"{filesystem.type_name}:{root}"
        store._use(filesystem, root, (cls.on, (filesystem, root)))
        return store

    def _use(self, filesystem: fs.FileSystem, root: str, reopen: tuple[Callable[..., Self], tuple[Any, ...]]) -> None:
        shown = re.sub(r"//[^/@]*@", "//", self.uri)  # a URI may hold a secret: s3://key:secret@bucket
        self._files = Files(filesystem, root, shown)
        self._reopen = reopen
        self._verified: set[tuple[str, bytes]] = set()

    def __str__(self) -> str:
        """Where the store is, without the secret that a URI may hold."""
        return self._files.uri

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        return self._reopen

    def check_writable(self) -> None:
        """Writes and removes a small file.

        Raises:
            StoreError: the store cannot be written (permission, full disk, missing bucket).
        """
        probe = f".probe-{uuid.uuid4().hex}"
        self._files.write(probe, b"collapse-ray")
        self._files.delete(probe)

    # Artifacts -------------------------------------------------------------------------------

    def find(self, kind: Kind, of: str, *, need_files: bool = True) -> Record | None:
        """The record of a published artifact, after its files were checked; None when it must be (re)computed.

        A torn or altered artifact is named in the log and moved to `torn/`. A retired one is found
        only where its files are not needed.

        Raises:
            OtherSchema: the record has another schema version (that is not damage: nothing is touched).
            StoreError: the store cannot be read.
        """
        found = self._whole(kind, of)
        if isinstance(found, str):
            set_aside(self._files, artifact_folder(kind, of), found)
            return None
        return None if found is None or (found.retired and need_files) else found

    def look(self, kind: Kind, of: str) -> Record | None:
        """What `find` finds where files are not needed, for those who only ask: what is torn stays where it is."""
        found = self._whole(kind, of)
        return None if isinstance(found, str) else found

    def _whole(self, kind: Kind, of: str) -> Record | str | None:
        """The record of a whole artifact, or what is wrong with it; None where there is none."""
        where = f"{artifact_folder(kind, of)}/{RECORD}"
        content = self._files.read(where)
        if content is None:
            return None
        try:
            record = Record.from_json(content, where)
        except OtherSchema:
            raise
        except StoreError as error:
            return str(error)
        if (of, content) not in self._verified:
            torn = damage(self._files, record, kind, of)
            if torn is not None:
                return torn
            self._verified.add((of, content))
        return record

    def fingerprints(self, kind: Kind) -> list[str]:
        """Of all artifacts of a kind, whole or not, sorted."""
        found = self._files.below(f"{ARTIFACTS}/{kind}", recursive=False).items()
        return sorted(name for name, info in found if info.type == fs.FileType.Directory)

    def begin(self, kind: Kind, of: str) -> Attempt:
        """A fresh place to write to; other attempts at the same fingerprint have another."""
        return new_attempt(self._files, kind, of)

    def removing(self, attempt: Attempt) -> AbstractContextManager[None]:
        """Removes what was written of an attempt when the block fails; it must not publish.

        What is killed leaves it to `clean_staging`.
        """
        return removing(self._files, attempt)

    def write(self, attempt: Attempt, name: str, content: bytes) -> FileEntry:
        """Writes one file of an attempt; any rank may call it.

        Raises:
            StoreError: no space, no permission, no connection.
        """
        self._files.write(f"{attempt.folder}/{name}", content)
        return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())

    def publish(self, attempt: Attempt, record: Record) -> Record:
        """Makes an attempt the artifact, in one step.

        Returns:
            The record that stands: that of another process where it published the same fingerprint first.

        Raises:
            ValueError: the record is not one of this attempt.
            StoreError: a file that the record names was not written, or the store cannot be written.
        """
        stands = publish(self._files, attempt, record, partial(self.find, attempt.kind, attempt.fingerprint))
        self._verified.add((stands.fingerprint, stands.to_json().encode()))
        return stands

    def read(self, kind: Kind, of: str, name: str) -> bytes:
        """One file of an artifact, checked against the record.

        Raises:
            StoreError: the file is absent or its checksum differs.
        """
        record = self.record(kind, of)
        where = f"{files_folder(record)}/{name}"
        if record.retired:
            raise StoreError(f"{where} was removed by the retention policy; run again with keep: all")
        entry = next((entry for entry in record.files if entry.name == name), None)
        content = None if entry is None else self._files.read(where)
        if entry is None or content is None:
            raise StoreError(f"{where} does not exist; run the same command again to recompute it")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise StoreError(f"{where} was altered after it was written; run the same command again to recompute it")
        return content

    def record(self, kind: Kind, of: str) -> Record:
        """The record alone; the files are not looked at.

        Raises:
            StoreError: there is none.
        """
        where = f"{artifact_folder(kind, of)}/{RECORD}"
        text = self._files.read(where)
        if text is None:
            raise StoreError(f"{where} does not exist in the store {self._files.uri}")
        return Record.from_json(text, where)

    def holds(self, kind: Kind, of: str) -> bool:
        """Whether there is a record, whatever is in it."""
        return self._files.read(f"{artifact_folder(kind, of)}/{RECORD}") is not None

    def retire(self, kind: Kind, of: str) -> None:
        """Removes an artifact's files and keeps its record, marked; may be repeated."""
        record = self.record(kind, of)
        marked = dataclasses.replace(record, retired=True)
        self._files.replace(f"{artifact_folder(kind, of)}/{RECORD}", marked.to_json().encode())
        for entry in record.files:
            self._files.delete(f"{files_folder(record)}/{entry.name}")

    def write_energy(self, kind: Kind, of: str, energy: ArtifactEnergy) -> None:
        """Keeps what an artifact cost beside its record, which others may be rewriting meanwhile."""
        self._files.replace(f"{artifact_folder(kind, of)}/{ENERGY_FILE}", document_json(dataclasses.asdict(energy)))

    def energy(self, kind: Kind, of: str) -> ArtifactEnergy | None:
        """What an artifact cost; None where no ledger has said so.

        Raises:
            StoreError: the file is not what `write_energy` writes.
        """
        where = f"{artifact_folder(kind, of)}/{ENERGY_FILE}"
        content = self._files.read(where)
        try:
            return None if content is None else ENERGY.validate_json(content)
        except ValidationError as error:
            raise StoreError(f"{where} cannot be read: {error}; remove it, the ledger writes it again") from error

    def clean_staging(self, older_than_s: float = ABANDONED_AFTER_S) -> list[str]:
        """Removes what killed attempts left; returns its paths.

        Only its age tells an abandoned attempt from one of a run that lives: what goes is that in
        which nothing was written for `older_than_s`.
        """
        paths = abandoned(self._files, older_than_s)
        for path in paths:
            self._files.delete(path)
            log.info("removed %s, which an attempt left that ended unpublished", path)
        return paths

    # Beside artifacts: lineage indices, results, checkpoints ------------------------------------

    def write_document(self, path: str, content: bytes, *, sync: bool = False) -> None:
        """Replaces `STORE/path` in one step; with `sync`, it outlives a power failure when this returns."""
        self._files.replace(path, content, sync=sync)

    def read_document(self, path: str) -> bytes | None:
        """The content of `STORE/path`; None when absent."""
        return self._files.read(path)

    def list_documents(self, folder: str) -> list[str]:
        """Paths (relative to the store) of the files directly below `STORE/folder`, sorted."""
        found = self._files.below(folder, recursive=False).items()
        return sorted(f"{folder}/{name}" for name, info in found if info.type == fs.FileType.File)

    def upload_folder(self, local: str, folder: str) -> None:
        """Copies the files below a local folder to `STORE/folder`, file by file; other files there stay."""
        self._files.upload(local, folder)

    def download_folder(self, folder: str, local: str) -> None:
        """Copies the files below `STORE/folder` to a local folder."""
        self._files.download(folder, local)

    def delete_folder(self, folder: str) -> None:
        """Removes `STORE/folder` and all below; absent is fine."""
        self._files.delete(folder)


def document_json(value: Any) -> bytes:
    """Bytes of a JSON document as the store keeps it."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
