"""`collapse verify`: closed-form lineages against the formulas that they must obey."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from collapse_ray.lineage.verify import Check


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    oracle: Annotated[list[str] | None, typer.Option(metavar="ID", help="Oracle to check; repeatable. All.")] = None,
    replicas: Annotated[int, typer.Option(help="Independent lineages to average over, at least 100.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Run lineages whose collapse is known exactly, and compare them with theory.

    Lineages of Gaussians go through the same code as any other. Each quantity's mean over the replicas is compared with
    its closed form: it differs when it is 4 standard errors or more away. The exit code is 1 when any differs.

    **Examples**

    `collapse verify`

    `collapse verify --oracle O1 --oracle O8 --replicas 10000`
    """
    from rich.console import Console

    from collapse_ray.lineage import verify as lineages

    # What libraries print on the way must not end up in the output.
    with contextlib.redirect_stdout(sys.stderr), Console(stderr=True).status("running closed-form lineages"):
        checks = lineages.verify(oracle or [], replicas, seed)
    agrees = all(check.verdict == "agrees" for check in checks)
    if as_json:
        typer.echo(json.dumps(_document(checks, replicas, seed), allow_nan=False))
    else:
        Console().print(_table(checks, replicas, seed))
    raise typer.Exit(0 if agrees else 1)


def _document(checks: "Sequence[Check]", replicas: int, seed: int) -> dict[str, Any]:
    return {
        "agrees": all(check.verdict == "agrees" for check in checks),
        "replicas": replicas,
        "seed": seed,
        "checks": [{**asdict(check), "z": check.z, "verdict": check.verdict} for check in checks],
    }


def _table(checks: "Sequence[Check]", replicas: int, seed: int) -> "Table":
    from rich import box
    from rich.table import Table

    from collapse_ray.lineage.oracles import ORACLES, SAMPLES_PER_GENERATION
    from collapse_ray.lineage.verify import MAX_Z

    agreeing = sum(check.verdict == "agrees" for check in checks)
    settings = [f"{of}: {ORACLES[of].setting}" for of in dict.fromkeys(check.oracle for check in checks)]
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title=f"{replicas} lineages of Gaussians, n = {SAMPLES_PER_GENERATION} samples per generation, seed {seed}",
        caption="\n".join([*settings, f"{agreeing} of {len(checks)} agree with the closed form: |z| < {MAX_Z:g}"]),
        caption_justify="left",
    )
    for name in ("oracle", "quantity", "gen", "expected", "observed", "error", "z", "verdict"):
        table.add_column(name, justify="left" if name in ("oracle", "quantity", "verdict") else "right", no_wrap=True)
    for previous, check in zip([None, *checks], checks, strict=False):
        if previous is not None and previous.oracle != check.oracle:
            table.add_section()
        numbers = (f"{check.expected:.4f}", f"{check.observed:.4f}", f"{check.standard_error:.4f}", f"{check.z:+.2f}")
        style = None if check.verdict == "agrees" else "bold red"
        table.add_row(check.oracle, check.quantity, str(check.generation), *numbers, check.verdict, style=style)
    return table
