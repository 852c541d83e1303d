"""The `collapse` command."""

import sys

import typer

from collapse_ray.artifact.record import StoreError
from collapse_ray.cli.commands import listing, report, run, verify
from collapse_ray.config.errors import InvalidInput

app = typer.Typer(
    name="collapse",
    help="How much real data keeps a chain of generative models healthy, and for how many generations?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (run, listing, verify, report):
    command.register(app)


def main() -> None:
    """Runs the command; what the user can mend is one clear message and exit code 2, never a traceback."""
    try:
        app()
    except (InvalidInput, StoreError) as error:
        sys.exit(_refuse(error))


def _refuse(error: Exception) -> int:
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    return 2


if __name__ == "__main__":
    main()
