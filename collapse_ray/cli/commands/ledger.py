"""`collapse ledger`: what was used, and for what."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from collapse_ray.cli.commands.ledger_record import record
from collapse_ray.config.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from collapse_ray.artifact.store import Store


class _StoreOrCommand(TyperGroup):
    """`collapse ledger STORE` is `collapse ledger show STORE`; a store named like a command is given as ./record."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx):
            args = ["show", *args]
        return super().parse_args(ctx, args)


class Format(StrEnum):
    """How tables are written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def register(app: typer.Typer) -> None:
    ledger = typer.Typer(
        cls=_StoreOrCommand,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="What every joule was spent on: `collapse ledger STORE`. What a command uses: `collapse ledger record`.",
    )
    ledger.command(no_args_is_help=True)(show)
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    ledger.command(context_settings=settings, no_args_is_help=True)(record)
    app.add_typer(ledger, name="ledger")


def show(
    store: Annotated[str, typer.Argument(help="Folder or URI of the store, as given to run.store.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Views (carbon, pue, price, …) and facts.")
    ] = None,
    *,
    by: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Comma-separated; e.g. lineage,generation,stage,node,device.")
    ] = "kind,stage",
    form: Annotated[Format, typer.Option("--format", help="How the table is written.")] = Format.table,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table there; parquet needs it.")] = None,
    embodied: Annotated[
        bool, typer.Option("--embodied", help="One row for each generator: its joules, and those of all its ancestors.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Verify that no joule is missing or counted twice; exit code 1 if so.")
    ] = False,
    export: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=FILE", help="codecarbon, boamps or huggingface; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let an export replace a file that is not its own.")] = False,
) -> None:
    """Print what the energy in a store's ledger was spent on.

    Every joule has a quality: `counter` (the device's own energy counter), `integrated` (its power over time),
    `estimated` (utilisation times thermal design power), or it is `unmeasured` and null. Measured and estimated joules
    are never added up. Carbon, water, price and the like are views of the joules, each with its source below the table.

    **Examples**

    `collapse ledger store --by lineage,generation,stage`

    `collapse ledger store carbon='{kind: table, country: DEU}' pue='{factor: 1.2, source: our data centre, 2025}'`

    `collapse ledger store --format csv --out joules.csv --by artifact`

    `collapse ledger store --export codecarbon=emissions.csv carbon='{kind: table, country: FRA}'`

    `collapse ledger store --check`
    """
    from collapse_ray.artifact.store import Store

    opened = Store(store)
    if check:
        _check(opened)
        return
    if form is Format.parquet and out is None:
        raise InvalidInput("--format parquet writes a file; give --out FILE")
    from collapse_ray.cli.ledger_tables import embodied_table, exported_files, viewed_table

    asked = settings or []
    viewed = embodied_table(opened) if embodied else viewed_table(opened, asked, tuple(filter(None, by.split(","))))
    for path in exported_files(opened, asked, export or [], force=force):
        typer.echo(f"wrote {path}", err=True)
    _write(viewed.table, form, out)
    if form is Format.table:
        for note in viewed.notes:
            typer.echo(note, err=True)


def _check(store: "Store") -> None:
    from collapse_ray.cli.ledger_tables import findings

    found = findings(store)
    for finding in found:
        typer.secho(f"{finding.problem}: {finding.message}", fg=typer.colors.RED, err=True)
    if found:
        raise typer.Exit(1)
    typer.echo(f"the ledger of {store} is whole: every device's entries sum to what its meter read, to the microjoule")


def _write(table: "pd.DataFrame", form: Format, out: Path | None) -> None:
    from collapse_ray.ledger.export import replace_file

    if form is Format.table and out is None:
        from collapse_ray.cli.display import plain_console
        from collapse_ray.report.frame import frame_table

        plain_console().print(frame_table(table))
        return
    if form is Format.parquet:
        assert out is not None
        table.to_parquet(out, index=False)
        return
    text = f"{table.to_json(orient='records', indent=1)}\n" if form is Format.json else table.to_csv(index=False)
    if out is None:
        typer.echo(text, nl=False)
    else:
        replace_file(out, text)
