"""Batches that a ledger took and has not yet written to the store, in files on its node.

Where a ledger is killed alone, the meters send them again. Where a whole cluster of one machine is killed with its
driver, nobody is left to do so: the next ledger of the store on this node takes them from here.
"""

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_SIZE = 8
"""Bytes before each batch that say how long it is."""


class TakenFiles:
    """The files of one ledger process. The kernel has a batch when `add` returns.

    Args:
        folder: On this node.
        name: Of the ledger, whatever process it is; without wildcards.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._lock = threading.Lock()
        self._kept = self._of_the_dead()
        self._file: int | None = None  # that is written to
        self._fails = False

    def found(self) -> Iterator[bytes]:
        """Batches that ledgers before this one took, in the order of each; those they wrote may be among them."""
        for file in self._kept.values():
            with os.fdopen(os.dup(file), "rb") as stream:
                while len(size := stream.read(_SIZE)) == _SIZE:
                    batch = stream.read(int.from_bytes(size))
                    if len(batch) == int.from_bytes(size):  # else its writer was killed meanwhile
                        yield batch

    def add(self, batch: bytes) -> None:
        """A batch was taken."""
        with self._lock:
            if self._fails:
                return
            try:
                if self._file is None:
                    self._file = self._open()
                os.write(self._file, len(batch).to_bytes(_SIZE) + batch)
            except OSError as error:
                log.warning("batches are not kept beside the ledger any more, meters alone have them: %s", error)
                self._fails = True

    @contextmanager
    def written(self) -> Iterator[None]:
        """Once the block has made durable all that was taken before it, what was kept of that is no longer needed."""
        with self._lock:
            self._file = None
            done = dict(self._kept)
        yield
        with self._lock:
            for path, file in done.items():
                path.unlink(missing_ok=True)
                if self._kept.pop(path, None) is not None:
                    os.close(file)

    def _open(self) -> int:
        path = self._folder / f"{self._name}-{uuid.uuid4().hex}.taken"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, or this process ends
        self._kept[path] = file
        return file

    def _of_the_dead(self) -> dict[Path, int]:
        """Files that no living process writes to."""
        kept = {}
        for path in sorted(self._folder.glob(f"{self._name}-*.taken")):
            try:
                file = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # another ledger was faster
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                kept[path] = file
            except BlockingIOError:
                os.close(file)
        return kept
