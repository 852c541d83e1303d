"""`collapse sweep`: many lineages of one sweep file, resumed where they were left."""

from typing import TYPE_CHECKING, Annotated

import typer

from collapse_ray.cli.spec_files import split
from collapse_ray.config.errors import InvalidInput

if TYPE_CHECKING:
    from collapse_ray.artifact.store import Store
    from collapse_ray.cli.sweep_display import SweepDisplay
    from collapse_ray.search.outcome import SweepDocument
    from collapse_ray.search.spec import Sweep


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(sweep)


def sweep(
    arguments: Annotated[
        list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A sweep file and overrides of its keys.")
    ],
) -> None:
    """Run the lineages of a sweep; the same command again resumes it.

    A sweep file (see `jobs/specs/*_sweep.yaml`) has a base lineage, axes along which others differ from it, their
    depth and seeds, the verdicts that call a lineage collapsed, the rule that stops it, a search method and a budget.
    Overrides name any of its keys: `depth=4`, `seeds=[0,1,2]`, `base.train.epochs=3`, `stop=null`,
    `search={kind: frontier, axis: regime.real_fraction, precision: 0.05}`, `budget.joules=2.0e+5`, `run.workers=2`.

    Results go to `results.parquet`, the smallest real fractions that survive to `frontier.parquet`, and what was saved
    by early stops to `stopped.parquet`, all in the store.

    **Examples**

    `collapse sweep jobs/specs/gaussian_frontier.yaml`

    `collapse sweep jobs/specs/digits_sweep.yaml depth=4 run.store=/tmp/store`
    """
    try:
        _sweep(_load(arguments))
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted: what is published stays; the same command resumes from there", err=True)
        raise typer.Exit(130) from interrupt


def _load(arguments: list[str]) -> "Sweep":
    from collapse_ray.search.spec import load_sweep

    paths, overrides = split(arguments)
    if len(paths) != 1:
        given = ", ".join(map(str, paths)) or "none"
        raise InvalidInput(f"a sweep is one file, given: {given}; give one, such as jobs/specs/gaussian_frontier.yaml")
    return load_sweep(paths[0], overrides)


def _sweep(asked: "Sweep") -> None:
    from collapse_ray.artifact.store import Store
    from collapse_ray.cli.sweep_display import SweepDisplay
    from collapse_ray.ledger.service import metering
    from collapse_ray.lineage.progress import each_of
    from collapse_ray.search.gauges import SweepGauges
    from collapse_ray.search.outcome import read_sweep
    from collapse_ray.search.runner import run_sweep
    from collapse_ray.train.machine import check_machine

    store = Store(asked.run.store)
    if asked.run.address is None:
        check_machine(asked.run)  # asked again by those who start Ray; reading the data may take long
    points = asked.spec.search.points(asked.axes)
    num_lineages = None if points is None else len(points) * len(asked.spec.seeds)
    with SweepDisplay(asked, num_lineages) as display:
        count = "as many lineages as the search asks for" if num_lineages is None else f"{num_lineages} lineages"
        display.say(f"sweep {asked.id}: {count}, of up to {asked.spec.depth} generations")
        run_sweep(asked, each_of(display.on_event, SweepGauges(asked)), metering(store, asked.run))
        document = read_sweep(store, asked)
        assert document is not None
        _show(display, store, document)


def _show(display: "SweepDisplay", store: "Store", document: "SweepDocument") -> None:
    from collapse_ray.report.frame import frame_table
    from collapse_ray.report.frontiers import write_frontiers
    from collapse_ray.report.results import write_results
    from collapse_ray.report.stopped import write_stopped
    from collapse_ray.report.sweep_arms import sweep_arms
    from collapse_ray.report.sweep_table import arms_table, cost_lines, frontier_rows
    from collapse_ray.search.accounting import Amount, amounts_of, sweep_cost
    from collapse_ray.search.outcome import STATES
    from collapse_ray.search.trial import point_label

    results = write_results(store)
    frontiers = write_frontiers(store, results)
    write_stopped(store)
    arms = sweep_arms(store, document, results)
    if document.asked.search.kind != "frontier":  # there each lineage is another point
        display.show(arms_table(arms, [Amount.total(amounts_of(store, arm.indices)).energy_j for arm in arms]))
    own = frontiers.loc[frontiers["sweep"].eq(document.id)]
    if len(own):
        display.show(frame_table(frontier_rows(own)))
    indices = [index for arm in arms for index in arm.indices]
    for line in cost_lines(sweep_cost(store, indices, document.outcome.stopped, document.asked.depth)):
        display.say(line)
    for failed in (each for each in document.outcome.lineages if each.state == "failed"):
        display.say(f"{point_label(failed.point)} seed {failed.seed} failed: {failed.reason}")
    if document.outcome.state != "complete":
        display.say(f"the sweep is {document.outcome.state}: {STATES[document.outcome.state]}")
    display.say(f"results: {store}/results.parquet   frontier: {store}/frontier.parquet")
    if document.asked.run.meter.enabled:
        display.say(f"energy: collapse ledger {store} --by sweep,lineage,generation,stage")
