"""What a person sees while lineages run: bars on a terminal, plain lines elsewhere."""

import logging
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from collapse_ray.lineage.progress import StageEvent

LINE_S = 10.0
"""Seconds between lines about the same stage where there is no terminal."""

WIDTH_OF_A_FILE = 160
"""Columns of a table that goes to a file or a pipe, where rich would fold it at 80."""


class Named(Protocol):
    """A lineage to be shown."""

    @property
    def name(self) -> str: ...


def plain_console() -> Console:
    """The standard output, for text that is shown as it is: no markup, nothing coloured by its form."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    return console


class Display:
    """Shows stage events and what the package logs; safe to be called from another thread."""

    def __init__(self) -> None:
        self._console = plain_console()
        self._log = _Lines(self)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._stage: tuple[str, int, int, str] | None = None
        self._label = ""
        self._began = 0.0
        self._said = 0.0

    def __enter__(self) -> Self:
        logging.getLogger("collapse_ray").addHandler(self._log)
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()
        logging.getLogger("collapse_ray").removeHandler(self._log)

    def say(self, line: str) -> None:
        """One line of text, which is never folded."""
        self._console.print(line, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table, once everything has ended."""
        self._end_bar()
        self._console.print(what)

    def begin(self, lineages: Sequence[Named], workers: int) -> None:
        """Announces what will run."""
        count = f"{len(lineages)} lineage{'s' if len(lineages) > 1 else ''}"
        where = f"on {workers} worker{'s' if workers > 1 else ''}" if workers else "in this process"
        self.say(f"{count} {where}: {', '.join(sorted({lineage.name for lineage in lineages}))}")

    def on_event(self, event: StageEvent) -> None:
        """A stage began, was found published, or went on."""
        stage = (event.lineage, event.seed, event.generation, event.stage)
        label = f"{event.lineage} seed {event.seed}  generation {event.generation}  {event.stage}"
        if event.reused:
            self._end_bar()
            self.say(f"{label}  already published")
            return
        if stage != self._stage:
            self._end_bar()
            self._stage, self._label = stage, label
            self._began = self._said = time.monotonic()
            self._bar = self._bars.add_task(label, total=event.total, unit="", note="")
            if not self._console.is_terminal:
                self.say(label)
        if event.total is None:
            return
        note = "" if event.loss is None else f"loss {event.loss:.4g}"
        if self._bar is not None:
            self._bars.update(self._bar, completed=event.done, total=event.total, unit=event.unit, note=note)
        self._line(label, event, note)

    def _line(self, label: str, event: StageEvent, note: str) -> None:
        now = time.monotonic()
        if self._console.is_terminal or event.total is None or now - self._said < LINE_S:
            return
        self._said = now
        left = (now - self._began) / max(event.done, 1) * (event.total - event.done)
        self.say(f"{label}  {event.done}/{event.total} {event.unit}  {left:.0f} s left  {note}".rstrip())

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
            if self._console.is_terminal:
                self.say(f"{self._label}  {time.monotonic() - self._began:.1f} s")


class _Lines(logging.Handler):
    """Log records as lines among the others."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.say(f"{record.levelname.lower()}: {record.getMessage()}")
