"""What the sources that read a user's files have in common."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.source import SourceSpec


class FileSource(SourceSpec):
    """Real data in files. Where they lie is no part of the identity: their checksums are (`RealData.content`)."""

    located: ClassVar[frozenset[str]] = frozenset({"path", "holdout"})

    path: str
    """The training data; a relative path starts at the working directory."""
    holdout: str | None = None
    """The test data, where there is a split of its own; None holds out a part of `path` instead."""
    num_samples: int | None = Field(default=None, ge=1)
    """Takes the first samples of `path` only; None takes all. The holdout is never cut."""

    def limit(self, num_found: int) -> int:
        """How many of the samples found in `path` are taken.

        Raises:
            InvalidInput: there are none, or fewer than asked for.
        """
        require_samples("path", self.path, num_found)
        if self.num_samples is not None and self.num_samples > num_found:
            raise InvalidInput(
                f"num_samples is {self.num_samples}, but path {self.path!r} holds {num_found} samples; "
                f"give at most {num_found}, or leave num_samples out to take them all"
            )
        return self.num_samples or num_found


def require_samples(field: str, given: str, num_found: int) -> None:
    """Refuses an empty source."""
    if num_found == 0:
        raise InvalidInput(f"{field} {given!r} holds no samples; give data with at least one")


def locate(field: str, given: str) -> Path:
    """The path of an existing file or folder.

    Raises:
        InvalidInput: there is nothing at that path.
    """
    path = Path(given).expanduser()
    if not path.exists():
        raise InvalidInput(
            f"{field} {given!r} does not exist (working directory: {Path.cwd()}); give an existing file or folder"
        )
    return path


def locate_file(field: str, given: str, what: str) -> Path:
    """The path of an existing file; `what` names its format in the error.

    Raises:
        InvalidInput: there is nothing at that path, or a folder.
    """
    path = locate(field, given)
    if path.is_dir():
        raise InvalidInput(f"{field} {given!r} is a folder; give {what}")
    return path


def checksum(paths: Iterable[Path]) -> str:
    """SHA-256 of one file, or of the checksums of several files in their order; read in pieces, names left out."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
