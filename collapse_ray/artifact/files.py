"""Bytes below one root of a pyarrow filesystem; every failure names the store and says what to do."""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import NativeFile, fs

from collapse_ray.artifact.record import StoreError

STAGING = "staging"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)


class Files:
    """Whole files by path relative to the root.

    `renames` tells whether a rename is one step here; where it is not (object stores), writing one
    object is.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str, uri: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.uri = uri
        self.renames = isinstance(filesystem, fs.LocalFileSystem)

    def read(self, path: str) -> bytes | None:
        """The content; None when absent."""
        with self._doing(f"read {path}"):
            try:
                with self.filesystem.open_input_stream(self._full(path)) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

    def digest(self, path: str) -> tuple[int, str] | None:
        """Bytes and SHA-256, read piece by piece; None when absent."""
        with self._doing(f"read {path}"):
            try:
                with self.filesystem.open_input_stream(self._full(path)) as stream:
                    return _digest(stream)
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Writes a file; what could be written of it before a failure is removed."""
        with self._doing(f"write {path}"):
            try:
                with self._open(path) as stream:
                    stream.write(content)
            except OSError:
                if self.exists(path):
                    self.filesystem.delete_file(self._full(path))
                raise

    def replace(self, path: str, content: bytes, *, sync: bool = False) -> None:
        """Writes a file in one step: a reader finds the former content or the new one.

        Args:
            path: of the file.
            content: all of it.
            sync: wait until a power failure would leave it, too; object stores always do.
        """
        if not self.renames:
            self.write(path, content)
            return
        temporary = f"{STAGING}/{path.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
        self.write(temporary, content)
        with self._doing(f"write {path}"):
            if sync:
                _sync(self._full(temporary))
            self._make_parent(path)
            self.filesystem.move(self._full(temporary), self._full(path))
            if sync:
                _sync(self._full(path).rpartition("/")[0])

    def move_folder(self, source: str, target: str) -> bool:
        """Renames a folder in one step; False when a folder that holds something is already at the target."""
        with self._doing(f"move {source} to {target}"):
            self._make_parent(target)
            try:
                self.filesystem.move(self._full(source), self._full(target))
            except OSError as error:
                if error.errno in _OCCUPIED:
                    return False
                raise
        return True

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        with self._doing(f"look for {path}"):
            return self.filesystem.get_file_info(self._full(path)).type == fs.FileType.File

    def below(self, folder: str, *, recursive: bool) -> dict[str, fs.FileInfo]:
        """What is below a folder, by path relative to the folder; empty when absent."""
        selector = fs.FileSelector(self._full(folder), allow_not_found=True, recursive=recursive)
        with self._doing(f"list {folder}"):
            infos = self.filesystem.get_file_info(selector)
        start = len(selector.base_dir.strip("/")) + 1  # some filesystems put a slash before their paths
        return {info.path.lstrip("/")[start:]: info for info in infos}

    def delete(self, path: str) -> None:
        """Removes a file, or a folder and all below; absent is fine."""
        full = self._full(path)
        with self._doing(f"delete {path}"):
            found = self.filesystem.get_file_info(full).type
            try:
                if found == fs.FileType.File:
                    self.filesystem.delete_file(full)
                elif found == fs.FileType.Directory:
                    self.filesystem.delete_dir(full)
            except FileNotFoundError:
                return

    def upload(self, local: str, folder: str) -> None:
        """Copies the files below a local folder."""
        with self._doing(f"write {folder}"):
            self.filesystem.create_dir(self._full(folder), recursive=True)
            fs.copy_files(local, self._full(folder), fs.LocalFileSystem(), self.filesystem)

    def download(self, folder: str, local: str) -> None:
        """Copies the files below a folder to a local one."""
        with self._doing(f"read {folder}"):
            fs.copy_files(self._full(folder), local, self.filesystem, fs.LocalFileSystem())

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _open(self, path: str) -> NativeFile:
        try:
            return self.filesystem.open_output_stream(self._full(path))
        except FileNotFoundError:
            self._make_parent(path)
            return self.filesystem.open_output_stream(self._full(path))

    def _make_parent(self, path: str) -> None:
        self.filesystem.create_dir(self._full(path).rpartition("/")[0], recursive=True)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            todo = "Check that it exists and may be written, or give another with run.store=…"
            if error.errno in _FULL:
                todo = "Free space there or give another with run.store=…, then run the same command again"
            raise StoreError(
                f"cannot {what} in the store {self.uri}: {error}. {todo}; what is published stays"
            ) from error


def _sync(path: str) -> None:
    """Waits until a local file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(stream: NativeFile) -> tuple[int, str]:
    sha256 = hashlib.sha256()
    num_bytes = 0
    while block := stream.read(1 << 20):
        sha256.update(block)
        num_bytes += len(block)
    return num_bytes, sha256.hexdigest()
