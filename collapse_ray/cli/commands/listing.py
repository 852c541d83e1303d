"""`collapse list`: the kinds that a spec may name."""

from enum import StrEnum
from typing import Annotated

import typer


class Listed(StrEnum):
    """What can be listed."""

    families = "families"
    sources = "sources"
    metrics = "metrics"
    regimes = "regimes"


def register(app: typer.Typer) -> None:
    app.command("list", no_args_is_help=True)(list_kinds)


def list_kinds(what: Annotated[Listed, typer.Argument(help="Which kinds.")]) -> None:
    """List families, sources, metrics or regimes, with the fields that each takes."""
    from collapse_ray.cli.display import plain_console
    from collapse_ray.report.kinds import kinds_table

    plain_console().print(kinds_table(what.value))
