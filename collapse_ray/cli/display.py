"""What a person sees while lineages run: bars on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from collapse_ray.lineage.progress import StageEvent

LINE_S = 10.0
"""Seconds between lines about the same stage where there is no terminal."""


class Named(Protocol):
    """A lineage to be shown."""

    @property
    def name(self) -> str: ...


class Display:
    """Shows stage events; safe to be called from another thread."""

    def __init__(self) -> None:
        self._console = Console()
        self._bars = Progress(
            TextColumn("{task.description}"),
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
        self._began = 0.0
        self._said = 0.0

    def __enter__(self) -> Self:
        handler = RichHandler(console=self._console, show_path=False, show_time=False)
        logging.getLogger("collapse_ray").addHandler(handler)
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """One line of text."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table."""
        self._console.print(what)

    def begin(self, lineages: Sequence[Named]) -> None:
        """Announces what will run."""
        self.say(
            f"{len(lineages)} lineage{'s' if len(lineages) > 1 else ''}: {', '.join(sorted({n.name for n in lineages}))}"
        )

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
            self._stage, self._began, self._said = stage, time.monotonic(), time.monotonic()
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
