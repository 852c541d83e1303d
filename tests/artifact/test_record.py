"""Records: JSON with a schema version; what is not one is told from what is of another version."""

import json
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from collapse_ray.artifact import record as module
from collapse_ray.artifact.record import FileEntry, OtherSchema, Record, StoreError

WHOLE = Record(
    kind="evaluation",
    fingerprint="015abd7f5cc57a2dd94b7590f04ad808",
    identity={"a": 1},
    parents={"model": "44136fa355b3678a1146ad16f7e8649e"},
    files=(FileEntry("metrics.json", 12, "00" * 32),),
    duration_s=1.5,
    realised={"num_samples": 10, "realised_real_fraction": 0.25},
    metrics={"real_test_loss": 0.1, "undefined": None},
)

FIELDS_V2 = {
    "attempt": None,
    "code_version": "0.1.0",
    "created_at": "2026-01-01T00:00:00+00:00",
    "duration_s": 2,
    "files": [{"name": "f", "num_bytes": 3, "sha256": "ab"}],
    "fingerprint": "015abd7f5cc57a2dd94b7590f04ad808",
    "host": "node",
    "identity": {"a": 1},
    "kind": "model",
    "metrics": {"x": None, "y": 1},
    "outcome": "complete",
    "parents": {},
    "realised": {},
    "retired": False,
    "schema_version": 2,
}
"""Frozen: a record as version 2 writes it."""


def read(value: Any) -> Record:
    return Record.from_json(json.dumps(value), "here/record.json")


def test_survives_json() -> None:
    assert Record.from_json(WHOLE.to_json(), "here") == WHOLE


def test_version_2_is_read() -> None:
    record = read(FIELDS_V2)
    assert record.files == (FileEntry("f", 3, "ab"),)
    assert record.metrics == {"x": None, "y": 1.0}
    assert json.loads(record.to_json()) == FIELDS_V2


def test_absent_is_null_not_zero() -> None:
    assert json.loads(WHOLE.to_json())["metrics"]["undefined"] is None
    with pytest.raises(ValueError, match="JSON"):
        Record(**{**WHOLE.__dict__, "metrics": {"x": float("nan")}}).to_json()


@pytest.mark.parametrize("found", [0, 1, 3, "2", None])
def test_other_version_says_what_to_do(found: Any) -> None:
    with pytest.raises(
        OtherSchema, match=r"here/record\.json has schema version .* reads 2\. Use the version that wrote it"
    ):
        read({"schema_version": found, "layout": "of another time"})


def test_half_a_record() -> None:
    text = WHOLE.to_json()
    for end in range(0, len(text) - 1, 7):
        with pytest.raises(StoreError, match="is not a record") as caught:
            Record.from_json(text[:end], "here")
        assert not isinstance(caught.value, OtherSchema)


@pytest.mark.parametrize(
    "change",
    [
        {"duration_s": "long"},
        {"files": "none"},
        {"files": [{"name": "f"}]},
        {"kind": "modle"},
        {"unknown": 1},
        {"metrics": {"x": "y"}},
        {"identity": [1]},
        {"retired": 1},
    ],
)
def test_other_fields_or_types_are_no_record(change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match=re.escape(next(iter(change)))):
        read({**FIELDS_V2, **change})


def test_missing_field_is_no_record() -> None:
    with pytest.raises(StoreError, match="parents"):
        read({name: value for name, value in FIELDS_V2.items() if name != "parents"})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"null", b"3", b'"x"', b"{}", b""])
def test_other_content_is_no_record(content: bytes) -> None:
    with pytest.raises(StoreError, match="here is not a record"):
        Record.from_json(content, "here")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for this package's own, in a folder that is a git checkout."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    installed = tmp_path / "record.py"
    installed.touch()
    monkeypatch.setattr(module, "__file__", str(installed))
    module.code_version.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def _forget_code_version() -> Any:
    yield
    module.code_version.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_code_version_names_the_commit_and_what_is_not_in_it(package: Path) -> None:
    git(package, "add", "record.py")
    git(package, "commit", "-qm", "one")
    commit = git(package, "rev-parse", "--short=12", "HEAD")
    assert module.code_version().startswith(f"{version('collapse-ray')}+g{commit} python 3.")
    (package / "record.py").write_text("changed")
    module.code_version.cache_clear()
    assert f"+g{commit}-dirty " in module.code_version()


def test_code_version_does_not_name_a_foreign_commit(package: Path) -> None:
    """A virtual environment below somebody's own checkout."""
    git(package, "commit", "-qm", "foreign", "--allow-empty")
    assert "+g" not in module.code_version()


def test_code_version_without_git(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(package))
    assert module.code_version().startswith(f"{version('collapse-ray')} python")
