"""The root of the exports: files in the formats of others, written from accounts of the ledger."""

import os
import shutil
import uuid
from abc import abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.plugin import Plugin
from collapse_ray.ledger.exported import Exported, Total

PRODUCER = "collapse-ray"


def producer() -> str:
    """Name and version of what wrote a file."""
    return f"{PRODUCER} {version(PRODUCER)}"


class Export(Plugin):
    """One format. Its fields hold what only the user knows and the format asks for.

    A total of which a part was not measured is never shown as complete: each format says where it puts the remark, or
    refuses.
    """

    folder: ClassVar[str] = "collapse_ray.ledger.exports"

    file_name: ClassVar[str]
    """The name by which readers of the format look for it."""

    @abstractmethod
    def render(self, exported: Exported, existing: str | None, *, force: bool) -> str:
        """The whole new content of the file; a function of its arguments and the clock.

        Args:
            exported: what to export.
            existing: the file's content before; None where there is no file.
            force: replace what is not ours, and take what would be lost as lost.

        Raises:
            InvalidInput: the format needs what is not known, or the existing content is not ours to replace.
        """

    def write(self, exported: Exported, path: Path, *, force: bool = False) -> Path:
        """Writes the file in one step: a reader finds the former content or the new one.

        Args:
            exported: what to export.
            path: the file, or a folder that exists, which gets `file_name`.
            force: as in `render`.

        Returns:
            The file.

        Raises:
            InvalidInput: see `render`; or the file cannot be written there. What is there stays as it is.
        """
        path = (path / self.file_name if path.is_dir() else path).resolve()
        try:
            replace_file(path, self.render(exported, _read(path, force=force), force=force))
        except InvalidInput as error:
            raise InvalidInput(f"{path} was not written: {error}") from error
        except OSError as error:
            raise InvalidInput(
                f"{path} was not written: {error.strerror}; give a file in a folder that exists"
            ) from error
        return path


def work_of(exported: Exported) -> Total:
    """The work, where something of it was measured.

    Raises:
        InvalidInput: there are no accounts of work, or none with joules.
    """
    if not exported.work.rows:
        raise InvalidInput("no joules of a stage or of overhead are in the accounts; export a ledger that holds some")
    if exported.work.energy_uj is None:
        raise InvalidInput(
            f"nothing was measured ({exported.work.shortfall()}), and absent is not 0; export work that has joules: "
            "`collapse ledger record -- true` tells which sensors this machine has"
        )
    return exported.work


def _read(path: Path, *, force: bool) -> str | None:
    if not path.exists():
        return None
    try:
        return path.read_bytes().decode()  # bytes, so that line ends stay as they are
    except UnicodeDecodeError as error:
        if force:
            return None
        raise InvalidInput(f"what is there is not text ({error.reason}); give another file, or force it") from error


def replace_file(path: Path, text: str) -> None:
    """Writes a file beside the target and renames it."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
