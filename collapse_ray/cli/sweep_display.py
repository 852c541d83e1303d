"""What a person sees while a sweep runs: a live table on a terminal, a line for each generation elsewhere."""

import logging
from collections import Counter
from threading import Lock
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collapse_ray.cli.display import plain_console
from collapse_ray.report.sweep_table import joules, verdict_words
from collapse_ray.search.events import ENDED, SweepEvent
from collapse_ray.search.spec import Sweep

ROWS_AROUND = 8
"""Lines of a terminal that are not lineages: heading, frame, summary, prompt."""

MIN_ROWS = 4

STATE_STYLES = {"stopped": "yellow", "diverged": "bold red", "failed": "bold red", "complete": "green"}


class SweepDisplay:
    """Shows sweep events and what the package logs; safe to be called from several threads."""

    def __init__(self, sweep: Sweep, num_lineages: int | None, console: Console | None = None) -> None:
        """Nothing is shown before the block is entered.

        Args:
            sweep: what runs.
            num_lineages: how many there will be; None where the search decides.
            console: where to; the standard output where None.
        """
        self._sweep = sweep
        self._num_lineages = num_lineages
        self._console = console or plain_console()
        self._events: dict[str, SweepEvent] = {}
        self._lock = Lock()
        self._log = _Lines(self)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        logging.getLogger("collapse_ray").addHandler(self._log)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        logging.getLogger("collapse_ray").removeHandler(self._log)

    def say(self, line: str) -> None:
        """One line of text, which is never folded."""
        self._console.print(line, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table, once everything has ended."""
        self._live.stop()
        self._console.print(what)

    def on_event(self, event: SweepEvent) -> None:
        """A lineage began, went on, or ended."""
        with self._lock:
            before = self._events.pop(event.trial.key, None)
            self._events[event.trial.key] = event  # the latest is the last
            if self._console.is_terminal:
                self._live.update(self.table(), refresh=True)
            elif self._is_news(before, event):
                self.say(self._line(event))

    def table(self) -> RenderableType:
        """The lineages that run, and of the others as many of the latest as fit."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in ("lineage", "seed", "generation", "now", "verdicts", "energy"):
            table.add_column(name, justify="right" if name in ("seed", "generation", "energy") else "left")
        for event in self._shown():
            table.add_row(
                self._sweep.arm_label(event.trial.point),
                str(event.trial.seed),
                f"{event.generation}/{self._sweep.spec.depth}",
                Text(_now(event), STATE_STYLES.get(event.state, "")),
                verdict_words(event.verdicts),
                joules(event.energy_j),
            )
        return Group(table, Text(self._summary(), style="dim"))

    def _is_news(self, before: SweepEvent | None, event: SweepEvent) -> bool:
        """What deserves a line of a log: a lineage begins, has come to a generation, or has ended."""
        if event.state == "waiting":
            return False
        if event.state == "running" and event.generation >= self._sweep.spec.depth:
            return False  # its end is told next
        return before is None or (before.state, before.generation) != (event.state, event.generation)

    def _shown(self) -> list[SweepEvent]:
        room = max(MIN_ROWS, self._console.height - ROWS_AROUND)
        latest = [*reversed(self._events.values())]
        return sorted(latest, key=lambda event: event.state != "running")[:room]

    def _summary(self) -> str:
        states = Counter(event.state for event in self._events.values())
        parts = [f"{count} {state}" for state, count in states.items()]
        if self._num_lineages is not None:
            parts.append(f"{self._num_lineages} in all")
        known = [event.energy_j for event in self._events.values() if event.energy_j is not None]
        return " · ".join([*parts, *([joules(sum(known))] if known else [])])

    def _line(self, event: SweepEvent) -> str:
        ended = sum(each.state in ENDED for each in self._events.values())
        count = f"{ended}/{self._num_lineages}" if self._num_lineages is not None else f"{ended}"
        words = [
            f"[{count} ended]",
            f"{self._sweep.arm_label(event.trial.point)} seed {event.trial.seed}",
            f"generation {event.generation} of {self._sweep.spec.depth}",
            _now(event),
        ]
        if event.verdicts:
            words.append(verdict_words(event.verdicts).plain)
        if event.energy_j is not None:
            words.append(joules(event.energy_j))
        return "  ".join(words)


def _now(event: SweepEvent) -> str:
    """What a lineage does, or how it ended."""
    if event.state != "running":
        return f"{event.state}: {event.reason}" if event.reason else event.state
    return f"{event.stage or 'running'}{' (found)' if event.reused else ''}"


class _Lines(logging.Handler):
    """Log records as lines among the others."""

    def __init__(self, display: SweepDisplay) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.say(f"{record.levelname.lower()}: {record.getMessage()}")
