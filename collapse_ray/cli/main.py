"""The `collapse` command."""

import signal
import sys
from typing import Annotated

import typer

from collapse_ray.artifact.record import StoreError, code_version
from collapse_ray.cli.commands import doctor, ledger, listing, plan, report, run, submit, sweep, verify
from collapse_ray.config.errors import InvalidInput, RunFailed

app = typer.Typer(
    name="collapse",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (run, sweep, plan, submit, listing, verify, report, ledger, doctor):
    command.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"collapse-ray {code_version()}")
        raise typer.Exit


@app.callback()
def collapse(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """How much real data keeps a chain of generative models healthy, and for how many generations?

    A lineage is such a chain: generation 1 learns from real data, each later one from a mix of real data and what its
    ancestors made. A spec file says which data, which family of models and which mix: see `jobs/specs/`.
    """


def main() -> None:
    """Runs the command.

    What the user can mend is one clear message and exit code 2, work that failed on the way is exit code 1; neither
    shows a traceback. SIGTERM, by which `ray job stop` and schedulers end a job, does what Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        app()
    except (InvalidInput, StoreError) as error:
        sys.exit(_say(error, 2))
    except RunFailed as error:
        sys.exit(_say(error, 1))


def _say(error: Exception, code: int) -> int:
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    return code


if __name__ == "__main__":
    main()
