"""Content-addressed artifacts on any pyarrow filesystem: a local folder, NFS, s3://, gs://."""

import hashlib
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pyarrow import ArrowInvalid, fs

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import FileEntry, Kind, Record, StoreError

log = logging.getLogger(__name__)

RECORD = "record.json"
RETIRED = "retired"
"""Marks an artifact whose files a retention policy removed; its record stays."""


@dataclass(frozen=True)
class Attempt:
    """A place where the ranks of one stage write files before they are published together."""

    kind: Kind
    fingerprint: str
    folder: str


class Store:
    """Reads verify checksums; publishing is atomic; what is torn is set aside, never used."""

    def __init__(self, uri: str) -> None:
        """Opens a store.

        Args:
            uri: a local path or any URI that `pyarrow.fs.FileSystem.from_uri` knows.

        Raises:
            StoreError: the URI is of no known filesystem.
        """
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self._fs, self._root = fs.FileSystem.from_uri(self.uri)
        except (ArrowInvalid, OSError) as error:
            raise StoreError(f"cannot open the store {uri!r}: {error}. Give a folder or a URI such as s3://…") from error
        self._renames = isinstance(self._fs, fs.LocalFileSystem)
        self._verified: set[str] = set()

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.uri,)

    def check_writable(self) -> None:
        """Writes and removes a small file.

        Raises:
            StoreError: the store cannot be written (permission, full disk, missing bucket).
        """
        probe = f"{self._root}/.probe-{uuid.uuid4().hex}"
        try:
            self._fs.create_dir(self._root, recursive=True)
            self._write(probe, b"collapse-ray")
            self._fs.delete_file(probe)
        except OSError as error:
            raise StoreError(f"the store {self.uri} cannot be written: {error}. Give another with run.store=…") from error

    # Artifacts -------------------------------------------------------------------------------

    def find(self, kind: Kind, of: str, *, need_files: bool = True) -> Record | None:
        """The record of a published artifact, after its files were checked; None when it must be (re)computed.

        A torn or altered artifact is named in the log and moved to `torn/`.

        Raises:
            StoreError: the record has another schema version (that is not damage: nothing is touched).
        """
        folder = self._folder(kind, of)
        text = self._read_or_none(f"{folder}/{RECORD}")
        if text is None:
            return None
        try:
            record = Record.from_json(text.decode(), f"{folder}/{RECORD}")
        except UnicodeDecodeError as error:
            self._set_aside(folder, f"its record is not text: {error}")
            return None
        except StoreError as error:
            if "schema version" in str(error):
                raise
            self._set_aside(folder, str(error))
            return None
        if self._exists(f"{folder}/{RETIRED}"):
            return None if need_files else record
        if folder not in self._verified:
            damage = self._damage(folder, record, of)
            if damage:
                self._set_aside(folder, damage)
                return None
            self._verified.add(folder)
        return record

    def begin(self, kind: Kind, of: str) -> Attempt:
        """A fresh staging folder (on object stores the final folder: there the record is the commit)."""
        if not self._renames:
            return Attempt(kind, of, self._folder(kind, of))
        return Attempt(kind, of, f"{self._root}/staging/{of}-{uuid.uuid4().hex[:8]}")

    def write(self, attempt: Attempt, name: str, content: bytes) -> FileEntry:
        """Writes one file of an attempt; any rank may call it."""
        self._fs.create_dir(attempt.folder, recursive=True)
        self._write(f"{attempt.folder}/{name}", content)
        return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())

    def publish(self, attempt: Attempt, record: Record) -> Record:
        """Makes an attempt the artifact: the record is written last, then the folder is renamed.

        When another process published the same fingerprint meanwhile, that one stays.
        """
        if fingerprint(record.identity) != attempt.fingerprint or record.fingerprint != attempt.fingerprint:
            raise ValueError(f"the record's identity is not that of the attempt {attempt.fingerprint}")
        folder = self._folder(attempt.kind, attempt.fingerprint)
        self._fs.create_dir(attempt.folder, recursive=True)
        self._write(f"{attempt.folder}/{RECORD}", record.to_json().encode())
        if self._renames:
            if self._exists(f"{folder}/{RETIRED}"):
                self._fs.delete_dir(folder)
            if self._exists(f"{folder}/{RECORD}"):
                self._fs.delete_dir(attempt.folder)
            else:
                self._fs.create_dir(folder.rpartition("/")[0], recursive=True)
                self._fs.move(attempt.folder, folder)
        elif self._exists(f"{folder}/{RETIRED}"):
            self._fs.delete_file(f"{folder}/{RETIRED}")
        self._verified.add(folder)
        return record

    def read(self, kind: Kind, of: str, name: str) -> bytes:
        """One file of an artifact, checked against the record.

        Raises:
            StoreError: the file is absent or its checksum differs.
        """
        folder = self._folder(kind, of)
        record = self.record(kind, of)
        entry = next((entry for entry in record.files if entry.name == name), None)
        content = None if entry is None else self._read_or_none(f"{folder}/{name}")
        if entry is None or content is None:
            raise StoreError(f"{folder} has no file {name}; run the same command again to recompute it")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise StoreError(f"{folder}/{name} was altered after it was written; run the same command again")
        return content

    def record(self, kind: Kind, of: str) -> Record:
        """The record alone, unchecked.

        Raises:
            StoreError: there is none.
        """
        where = f"{self._folder(kind, of)}/{RECORD}"
        text = self._read_or_none(where)
        if text is None:
            raise StoreError(f"{where} does not exist")
        return Record.from_json(text.decode(), where)

    def retire(self, kind: Kind, of: str) -> None:
        """Removes an artifact's files and keeps its record, marked."""
        folder = self._folder(kind, of)
        record = self.record(kind, of)
        self._write(f"{folder}/{RETIRED}", b"")
        for entry in record.files:
            if self._exists(f"{folder}/{entry.name}"):
                self._fs.delete_file(f"{folder}/{entry.name}")
        self._verified.discard(folder)

    # Documents outside artifacts (lineage indices, results) ------------------------------------

    def write_document(self, path: str, content: bytes) -> None:
        """Replaces `STORE/path` in one step."""
        target = f"{self._root}/{path}"
        self._fs.create_dir(target.rpartition("/")[0], recursive=True)
        if not self._renames:
            self._write(target, content)
            return
        temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        self._write(temporary, content)
        self._fs.move(temporary, target)

    def read_document(self, path: str) -> bytes | None:
        """The content of `STORE/path`; None when absent."""
        return self._read_or_none(f"{self._root}/{path}")

    def list_documents(self, folder: str) -> list[str]:
        """Paths (relative to the store) of the files directly below `STORE/folder`, sorted."""
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
        infos = self._fs.get_file_info(selector)
        return sorted(f"{folder}/{i.base_name}" for i in infos if i.type == fs.FileType.File)

    # Plumbing --------------------------------------------------------------------------------

    def _folder(self, kind: str, of: str) -> str:
        return f"{self._root}/artifacts/{kind}/{of}"

    def _damage(self, folder: str, record: Record, of: str) -> str | None:
        if fingerprint(record.identity) != of or record.fingerprint != of:
            return f"its record describes {fingerprint(record.identity)}, not {of}"
        for entry in record.files:
            content = self._read_or_none(f"{folder}/{entry.name}")
            if content is None:
                return f"the file {entry.name} is missing"
            if len(content) != entry.num_bytes:
                return f"the file {entry.name} has {len(content)} bytes, its record says {entry.num_bytes}"
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                return f"the file {entry.name} does not have the checksum of its record"
        return None

    def _set_aside(self, folder: str, why: str) -> None:
        aside = f"{self._root}/torn/{folder.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
        log.warning("torn artifact %s: %s. It is recomputed; the remains are in %s", folder, why, aside)
        if self._renames:
            self._fs.create_dir(aside.rpartition("/")[0], recursive=True)
            self._fs.move(folder, aside)
        else:
            self._fs.delete_file(f"{folder}/{RECORD}")

    def _write(self, path: str, content: bytes) -> None:
        with self._fs.open_output_stream(path) as stream:
            stream.write(content)

    def _exists(self, path: str) -> bool:
        return self._fs.get_file_info(path).type == fs.FileType.File

    def _read_or_none(self, path: str) -> bytes | None:
        try:
            with self._fs.open_input_stream(path) as stream:
                return stream.read()
        except FileNotFoundError:
            return None


def document_json(value: Any) -> bytes:
    """Bytes of a JSON document as the store keeps it."""
    import json

    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
