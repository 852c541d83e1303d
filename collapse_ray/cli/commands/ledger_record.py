"""`collapse ledger record`: the energy that one command uses."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from collapse_ray.config.errors import InvalidInput

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def record(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, with its arguments.")],
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Repeated in the result; repeatable.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate/--no-estimate", help="Estimate CPUs without a sensor from their utilisation.")
    ] = False,
    tdp_w: Annotated[
        float | None, typer.Option("--tdp-w", help="Thermal design power of all CPUs, for --estimate; 4 W per core.")
    ] = None,
) -> None:
    """Run a command, and print the energy that this node used meanwhile as one JSON object, the last line.

    All GPUs (NVML) and CPUs (RAPL) of the node are metered, whoever uses them. What cannot be measured is null, never
    0, with the reason. `total_energy_j` adds up measured devices; estimated ones count only where nothing is measured.
    Output, signals and exit code of the command pass through.

    **Examples**

    `collapse ledger record -- python train.py`

    `collapse ledger record --label model=vae --estimate -- make experiment`
    """
    from collapse_ray.energy.meter import Meter

    labels = _labels(label or ())
    with Meter(estimate=estimate, tdp_w=tdp_w) as meter:
        with meter.window(command[0]) as window:
            exit_code = _run(command)
        result = window.as_json()
    for absence in meter.absences:
        typer.echo(f"energy: {absence}", err=True)
    # The command's last line may lack its end: the object must not be appended to it.
    typer.echo("\n" + json.dumps(result | {"labels": labels, "exit_code": exit_code}))
    raise typer.Exit(exit_code)


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise InvalidInput(f"--label {pair}: a label is KEY=VALUE, such as --label model=vae")
    return dict(pair.split("=", 1) for pair in pairs)


def _run(command: Sequence[str]) -> int:
    """Runs the command to its end; its exit code, 128 + n when signal n ended it."""
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        raise InvalidInput(f"{command[0]} cannot be run: {error.strerror}; give a program and its arguments") from error
    with _signals_go_to(process):
        code = process.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _signals_go_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """While the command runs, it decides what a signal means."""
    foreground = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()

    def forward(number: int, _frame: FrameType | None) -> None:
        # What is typed at a terminal reaches the whole process group: the command has it already.
        if not (foreground and number in (signal.SIGINT, signal.SIGQUIT)):
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
