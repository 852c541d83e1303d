"""`collapse plan`: what a run or a sweep would compute, find, take and cost."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_ray.cli.spec_files import load, split
from collapse_ray.config.errors import InvalidInput

if TYPE_CHECKING:
    from collapse_ray.search.plan.plan import Plan


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(plan)


def plan(
    arguments: Annotated[
        list[str], typer.Argument(metavar="SPEC|KEY=VALUE", help="Specs, sweeps, and overrides of their keys.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: seconds, hours, joules and bytes.")] = False,
) -> None:
    """Show what specs and sweeps would do, without doing any of it: no Ray is started, nothing is written.

    Which stages are left and which the store has, found by fingerprint as the run itself finds them; what a lineage
    takes of this machine, or of the cluster at `run.address`; and time, GPU hours, joules and disk with an interval.
    Estimates come from records of the same settings in the store, else from records of the same kind, else from a
    stated model: the column `rests on` says which. Everything is an upper bound: no lineage is assumed to end early.

    **Examples**

    `collapse plan jobs/specs/digits_sweep.yaml`

    `collapse plan jobs/specs/digits_replace.yaml depth=20 run.store=/tmp/store --json`
    """
    from collapse_ray.search.plan.plan import make_plan

    paths, overrides = split(arguments)
    if not paths:
        raise InvalidInput(f"no spec file among {' '.join(arguments)}; give one, such as jobs/specs/digits_sweep.yaml")
    made = make_plan([load(path, overrides) for path in paths])
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=1))
    else:
        _show(made)


def _show(made: "Plan") -> None:
    from collapse_ray.cli.display import plain_console
    from collapse_ray.report.plan_table import footnotes, heading, plan_lines, stage_table

    console = plain_console()
    for spec in made.specs:
        console.print(heading(spec), soft_wrap=True)
        console.print(stage_table(spec))
        for line in plan_lines(spec):
            console.print(line, soft_wrap=True)
        console.print()
    for line in footnotes(made):
        console.print(line, soft_wrap=True)
