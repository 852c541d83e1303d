"""The proof that an artifact is whole: written last, it names what was made, from what, by what, at what cost."""

import json
import platform
import socket
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

SCHEMA_VERSION = 1

Kind = Literal["samples", "model", "evaluation"]


class StoreError(Exception):
    """The store cannot be used as it is; the message names the file and what to do."""


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact, as it was when it was written."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """Everything known of one artifact.

    `identity` is what the fingerprint was made of; `realised` holds counted quantities
    (num_samples, realised_real_fraction, world_size, steps, ...); `energy_j` is None where nothing
    measured it, never 0.
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
    energy_j: float | None = None
    energy_quality: str = "unmeasured"
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    host: str = field(default_factory=socket.gethostname)
    code_version: str = field(default_factory=lambda: code_version())
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Reads a record.

        Raises:
            StoreError: written by another schema version, or not a record.
        """
        try:
            value = json.loads(text)
            found = value["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{where} is not a record: {error}") from error
        if found != SCHEMA_VERSION:
            raise StoreError(
                f"{where} has schema version {found}; this version of collapse-ray reads {SCHEMA_VERSION}. "
                "Use the version that wrote it, or another store."
            )
        value["files"] = tuple(FileEntry(**entry) for entry in value["files"])
        return cls(**value)


@cache
def code_version() -> str:
    """The package's version, with the commit where the package lies in a git checkout."""
    released = version("collapse-ray")
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = f"+g{described.stdout.strip()}" if described.returncode == 0 else ""
    return f"{released}{commit} python {platform.python_version()}"
