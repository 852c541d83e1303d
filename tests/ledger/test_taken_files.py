"""Batches that a ledger took outlive it, until they are written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_ray.ledger.taken_files import TakenFiles

KILLED = """
import sys, os, signal
from pathlib import Path
from collapse_ray.ledger.taken_files import TakenFiles
files = TakenFiles(Path(sys.argv[1]), "ledger")
files.add(b"one")
with files.written():
    files.add(b"two")
files.add(b"three")
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == -signal.SIGKILL


def test_what_was_not_written_is_found_by_the_next(tmp_path: Path) -> None:
    killed(tmp_path)
    files = TakenFiles(tmp_path, "ledger")
    assert list(files.found()) == [b"two", b"three"]
    assert list(TakenFiles(tmp_path, "another").found()) == []
    with files.written():
        pass
    assert list(tmp_path.iterdir()) == []


def test_those_of_a_ledger_that_lives_are_left_alone(tmp_path: Path) -> None:
    living = TakenFiles(tmp_path, "ledger")
    living.add(b"one")
    assert list(TakenFiles(tmp_path, "ledger").found()) == []


def test_a_failed_write_keeps_all(tmp_path: Path) -> None:
    killed(tmp_path)
    files = TakenFiles(tmp_path, "ledger")
    files.add(b"four")
    with pytest.raises(OSError, match="the store is away"), files.written():
        raise OSError("the store is away")
    names = set(tmp_path.iterdir())
    assert len(names) == 2
    with files.written():
        files.add(b"five")
    (left,) = tmp_path.iterdir()
    assert left not in names


def test_a_batch_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    killed(tmp_path)
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 1)
    assert list(TakenFiles(tmp_path, "ledger").found()) == [b"two"]
