"""What a meter was told, in a file on its node: marks outlive a meter that is killed before it has passed them on."""

import json
import logging
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from collapse_ray.energy.marks import Work

TURN_S = 300.0
"""Ended marks are kept for this long at least: as long as a meter keeps what the ledger has not taken."""

log = logging.getLogger(__name__)


class MarkFile:
    """Appends begins and ends of work, and gives those of the meter before back.

    The kernel has each line when a method returns, so that a killed process loses none. Two files take turns: of what
    is older than both, only the work that is still open is kept.

    Args:
        path: Names both files; on a disk of this node.
        turn_s: How long each is written to.
    """

    def __init__(self, path: Path, turn_s: float = TURN_S) -> None:
        self._path, self._before = path, path.with_suffix(".before")
        self._turn_s = turn_s
        self._lock = threading.Lock()
        self._open: dict[str, str] = {}  # line of each token's begin
        left = [file for file in (self._before, path) if file.exists()]
        self.was_left = bool(left)
        """Whether the meter before this one was killed: else it removed its files."""
        lines = [line for file in left for line in _whole_lines(file)]
        self._found: list[tuple[str, dict[str, Any]]] = [json.loads(line) for line in lines]
        for line, (method, arguments) in zip(lines, self._found, strict=True):
            self._note(method, arguments, line)
        self._file: int | None = _append_to(path)
        self._turn_at_s = time.monotonic() + turn_s

    def found(self) -> list[tuple[str, dict[str, Any]]]:
        """What the meter before this one was told, in order: methods of `NodeMeter` and their arguments."""
        begins_ends = [(method, dict(arguments)) for method, arguments in self._found if method != "seen"]
        for method, arguments in begins_ends:
            if method == "begin":
                arguments["work"] = Work(**arguments["work"])
        return begins_ends

    def last_s(self) -> float | None:
        """The last time at which it is known to have lived; None where it left nothing."""
        return max((arguments["time_s"] for _, arguments in self._found), default=None)

    def open_workers(self) -> dict[str, str]:
        """Which worker holds which token."""
        with self._lock:
            return {token: json.loads(line)[1]["worker"] for token, line in self._open.items()}

    def begin(self, token: str, work: Work, **claim: Any) -> None:
        """Work begins; arguments as of `NodeMeter.begin`."""
        self._append("begin", {"token": token, "work": asdict(work), **claim})

    def end(self, token: str, time_s: float) -> None:
        """It ended."""
        self._append("end", {"token": token, "time_s": time_s})

    def seen(self, time_s: float) -> None:
        """All workers of open work lived at that time."""
        self._append("seen", {"time_s": time_s})

    def remove(self) -> None:
        """Nobody needs the files any more."""
        for file in (self._before, self._path):
            file.unlink(missing_ok=True)

    def _append(self, method: str, arguments: dict[str, Any]) -> None:
        line = json.dumps([method, arguments]) + "\n"
        with self._lock:
            self._note(method, arguments, line)
            if self._file is None:
                return
            try:
                if time.monotonic() > self._turn_at_s:
                    self._file = self._turned(self._file)
                os.write(self._file, line.encode())
            except OSError as error:
                log.warning("marks are not kept beside the meter any more (%s): now it must not be killed", error)
                self._file = None

    def _note(self, method: str, arguments: dict[str, Any], line: str) -> None:
        if method == "begin":
            self._open[arguments["token"]] = line
        elif method == "end":
            self._open.pop(arguments["token"], None)

    def _turned(self, file: int) -> int:
        os.close(file)
        self._path.replace(self._before)
        file = _append_to(self._path)
        os.write(file, "".join(self._open.values()).encode())
        self._turn_at_s = time.monotonic() + self._turn_s
        return file


def _append_to(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _whole_lines(file: Path) -> list[str]:
    """Without what a full disk may have cut off."""
    return [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
