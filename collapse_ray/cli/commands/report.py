"""`collapse report`: tables and figures of all lineages in a store."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_ray.config.errors import InvalidInput

if TYPE_CHECKING:
    from collapse_ray.report.arms import Arm


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(report)


def report(
    store: Annotated[str, typer.Argument(help="Folder or URI of the store, as given to run.store.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write; default: report, beside a local store.")
    ] = None,
) -> None:
    """Print the lineages of a store, and write figures and results.csv.

    Lineages that differ in their seed alone are averaged. There is one figure for each source of real data, because
    only lineages on the same data can be compared: `figure.png`, or `figure-SOURCE.png` where the store has several.

    **Examples**

    `collapse report store`

    `collapse report s3://bucket/store --out report`
    """
    from rich.console import Console

    from collapse_ray.artifact.store import Store
    from collapse_ray.report.arms import by_source, read_arms
    from collapse_ray.report.figure import lineage_figure
    from collapse_ray.report.results import load
    from collapse_ray.report.table import lineage_table

    opened = Store(store)
    results = load(opened)
    arms = read_arms(opened)
    Console().print(lineage_table(results, arms))
    folder = _make(out or _beside(store))
    groups = by_source(arms)
    written = [folder / "results.csv", *(folder / name for name in _figure_names(groups))]
    results.to_csv(written[0], index=False)
    for group, path in zip(groups, written[1:], strict=True):
        lineage_figure(opened, results, group, path)
    for path in written:
        typer.echo(str(path))


def _beside(store: str) -> Path:
    return Path("report") if "://" in store else Path(store).expanduser().absolute().parent / "report"


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--out {folder}: {error.strerror}; give a folder that can be written") from error
    return folder


def _figure_names(groups: "Sequence[Sequence[Arm]]") -> list[str]:
    if len(groups) == 1:
        return ["figure.png"]
    kinds = [group[0].source["kind"] for group in groups]
    seen: Counter[str] = Counter()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(f"figure-{kind}-{seen[kind]}.png" if kinds.count(kind) > 1 else f"figure-{kind}.png")
    return names
