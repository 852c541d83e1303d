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
    verdicts = "verdicts"
    searches = "searches"
    schedulers = "schedulers"


def register(app: typer.Typer) -> None:
    app.command("list", no_args_is_help=True)(list_kinds)


def list_kinds(what: Annotated[Listed, typer.Argument(help="Which kinds.")]) -> None:
    """List the kinds that a spec or a sweep may name, with the fields that each takes.

    Families, sources, metrics, regimes, verdicts, searches and schedulers.
    """
    from collapse_ray.cli.display import plain_console
    from collapse_ray.report.kinds import kinds_table
    from collapse_ray.report.verdict_kinds import verdicts_table

    plain_console().print(verdicts_table() if what is Listed.verdicts else kinds_table(what.value))
