"""What a meter was told, in a file on its node: marks outlive a meter that is killed before it has passed them on."""

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from collapse_ray.energy.marks import Work

TURN_S = 300.0
"""Ended marks are kept for this long at least: as long as a meter keeps what the ledger has not taken."""

Call = tuple[str, dict[str, Any]]
"""Method of `NodeMeter` and its arguments."""

log = logging.getLogger(__name__)


class MarkFile:
    """Appends calls, and gives those of the meter before back; one writer.

    The kernel has each line when a method returns, so that a killed process loses none. Two files take turns: of what
    is older than both, only the work that is still open is kept.

    Args:
        path: Names both files; on a disk of this node.
        turn_s: How long each is written to.
    """

    def __init__(self, path: Path, turn_s: float = TURN_S) -> None:
        self._path, self._before = path, path.with_suffix(".before")
        self._turn_s = turn_s
        self._open: dict[str, str] = {}
        self._turn_at_s = time.monotonic() + turn_s
        lines = [line for file in (self._before, self._path) if file.exists() for line in _whole_lines(file)]
        self._found = [(method, arguments) for method, arguments in map(json.loads, lines)]
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        for line, (method, arguments) in zip(lines, self._found, strict=True):
            self._note(method, arguments, line)

    def found(self) -> Sequence[Call]:
        """What the meter before this one was told, in order."""
        calls = [(method, dict(arguments)) for method, arguments in self._found if method != "seen"]
        for _, arguments in calls:
            if "work" in arguments:
                arguments["work"] = Work(**arguments["work"])
        return calls

    def found_open(self) -> dict[str, str]:
        """Worker of each token that it was told the begin of, and no end."""
        return {token: json.loads(line)[1]["worker"] for token, line in self._open.items()}

    def last_seen_s(self) -> float | None:
        """When it last said that the workers lived."""
        return max((arguments["time_s"] for _, arguments in self._found), default=None)

    def begin(self, token: str, work: Work, claim: dict[str, Any]) -> None:
        """Work begins; arguments as of `NodeMeter.begin`."""
        self._append("begin", {"token": token, "work": asdict(work), **claim})

    def end(self, token: str, time_s: float) -> None:
        """It ended."""
        self._append("end", {"token": token, "time_s": time_s})

    def seen(self, time_s: float) -> None:
        """At this time all workers with open work lived."""
        if self._open:
            self._append("seen", {"time_s": time_s})

    def remove(self) -> None:
        """Nobody needs the files any more."""
        for file in (self._before, self._path):
            file.unlink(missing_ok=True)

    def _append(self, method: str, arguments: dict[str, Any]) -> None:
        line = json.dumps([method, arguments])
        self._note(method, arguments, line)
        if self._file is None:
            return
        try:
            if time.monotonic() > self._turn_at_s:
                self._turn(self._file)
            os.write(self._file, f"{line}\n".encode())
        except OSError as error:
            log.warning("marks are not kept beside the meter any more (%s): it must not be killed", error)
            self._file = None

    def _note(self, method: str, arguments: dict[str, Any], line: str) -> None:
        if method == "begin":
            self._open[arguments["token"]] = line
        elif method == "end":
            self._open.pop(arguments["token"], None)

    def _turn(self, file: int) -> None:
        self._path.replace(self._before)
        os.close(file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.write(self._file, "".join(f"{line}\n" for line in self._open.values()).encode())
        self._turn_at_s = time.monotonic() + self._turn_s


def _whole_lines(file: Path) -> list[str]:
    """Without what a full disk may have cut off."""
    return [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
