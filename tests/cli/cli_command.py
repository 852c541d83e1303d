"""The `collapse` command in this process, with the plain twin in the place of Ray."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from collapse_ray.cli.main import main
from collapse_ray.lineage.launch import Metering, Task, run_plain
from collapse_ray.lineage.progress import Listener, StageEvent
from collapse_ray.train.execution import RunConfig


@dataclass
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """Runs `collapse ARGUMENTS`; `started` counts the runs in which a stage began."""

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    started: int = 0

    def __call__(self, *arguments: str) -> Outcome:
        self.capture.readouterr()
        self.patch.setattr(sys, "argv", ["collapse", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert type(left.value.code) is int
        printed = self.capture.readouterr()
        return Outcome(left.value.code, printed.out, printed.err)

    def run_on_ray(
        self, tasks: Sequence[Task], run: RunConfig, listener: Listener, metering: Metering | None = None
    ) -> None:
        began = False

        def listen(event: StageEvent) -> None:
            nonlocal began
            self.started += not began
            began = True
            listener(event)

        run_plain(tasks, run, listen)
