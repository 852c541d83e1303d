"""The proof that an artifact is whole: written last, it names what was made, from what, by what, at what cost."""

import json
import platform
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

SCHEMA_VERSION = 2

Kind = Literal["samples", "model", "evaluation"]


class StoreError(Exception):
    """The store cannot be used as it is; the message names the file and what to do."""


class OtherSchema(StoreError):
    """A whole record of another schema version: not damage, and not ours to touch."""


@cache
def code_version() -> str:
    """The package's version, with the commit where the package lies in a git checkout of its own."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    commit = ""
    # A package installed below someone else's checkout (a venv, say) is not tracked there.
    if shutil.which("git") and _run([*git, "ls-files", "--error-unmatch", here.name]) is not None:
        described = _run([*git, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"])
        commit = f"+g{described}"
    return f"{version('collapse-ray')}{commit} python {platform.python_version()}"


def _run(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact, as it was when it was written."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class ArtifactEnergy:
    """What making one artifact cost, all attempts at it included, over all devices that worked on it."""

    energy_j: float | None
    """None where nothing measured it, never 0."""
    quality: str
    """The worst among its joules; `unmeasured` also where only a part of the time was measured."""
    unmeasured_s: float = 0.0
    """Device time that is in no joule."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Record:
    """Everything known of one artifact.

    `identity` is what the fingerprint was made of; `realised` holds counted quantities
    (num_samples, realised_real_fraction, world_size, steps, ...). What it cost in joules is known only after it was
    published, and lies beside it: see `Store.energy`.
    """

    kind: Kind
    fingerprint: str
    identity: dict[str, Any]
    parents: dict[str, str]
    files: tuple[FileEntry, ...]
    duration_s: float
    realised: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    outcome: str = "complete"
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    host: str = field(default_factory=socket.gethostname)
    code_version: str = field(default_factory=code_version)
    schema_version: int = SCHEMA_VERSION
    retired: bool = False
    """Its files were removed by a retention policy."""
    attempt: str | None = None
    """Folder below the artifact's own that holds the files (object stores); None where they lie beside the record."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Record":
        """Reads a record.

        Raises:
            OtherSchema: written by another schema version.
            StoreError: not a record: half written, a field missing, unknown or of another type.
        """
        try:
            value = json.loads(text)
            found = value["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{where} is not a record: {error!r}") from error
        if found != SCHEMA_VERSION:
            raise OtherSchema(
                f"{where} has schema version {found}; this version of collapse-ray reads {SCHEMA_VERSION}. "
                "Use the version that wrote it, or another store."
            )
        try:
            return _RECORD.validate_json(text)
        except ValidationError as error:
            raise StoreError(f"{where} is not a record: {error}") from error


_RECORD = TypeAdapter(Record)
ENERGY = TypeAdapter(ArtifactEnergy)
