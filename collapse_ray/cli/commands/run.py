"""`collapse run`: lineages of one or more spec files, resumed where they were left."""

from typing import TYPE_CHECKING, Annotated

import typer

from collapse_ray.cli.spec_files import split
from collapse_ray.config.errors import InvalidInput

if TYPE_CHECKING:
    from collapse_ray.lineage.spec import Experiment


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(run)


def run(
    arguments: Annotated[
        list[str], typer.Argument(metavar="SPEC|KEY=VALUE", help="Spec files and overrides of their keys.")
    ],
) -> None:
    """Run the lineages of one or more specs; the same command again resumes them.

    A spec is a YAML file (see `jobs/specs/`). Overrides name any of its keys: `depth=4`, `train.epochs=3`,
    `regime={kind: mix, real_fraction: 0.5}`, `seeds=[0,1,2]`, `run.workers=2`, `run.store=s3://bucket/store`.
    Everything under `run.` says how to execute and never changes what is computed. `collapse list` shows what a spec
    may name.

    Each generation is trained, evaluated on held-out real data and sampled; every stage is published in the store under
    the fingerprint of what made it, and is never computed twice.

    **Examples**

    `collapse run jobs/specs/digits_replace.yaml`

    `collapse run jobs/specs/digits_replace.yaml depth=3 run.workers=0 run.store=/tmp/store`

    `collapse run a.yaml b.yaml seeds=[0,1,2]`
    """
    try:
        _run(_load(arguments))
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted: what is published stays; the same command resumes from there", err=True)
        raise typer.Exit(130) from interrupt


def _load(arguments: list[str]) -> "list[Experiment]":
    """Experiments that share their run settings."""
    from collapse_ray.lineage.spec import load_experiment

    paths, overrides = split(arguments)
    if not paths:
        raise InvalidInput(
            f"no spec file among {' '.join(arguments)}; give one, such as jobs/specs/digits_replace.yaml"
        )
    experiments = [load_experiment(path, overrides) for path in paths]
    for path, experiment in zip(paths, experiments, strict=True):
        if experiment.run != experiments[0].run:
            raise InvalidInput(
                f"{path}: its run settings differ from those of {paths[0]}; "
                "run them in two commands, or override what differs with run.KEY=VALUE"
            )
    return experiments


def _run(experiments: "list[Experiment]") -> None:
    from collapse_ray.artifact.store import Store
    from collapse_ray.cli.display import Display
    from collapse_ray.cli.energy import Reused, show_energy
    from collapse_ray.ledger.service import metering
    from collapse_ray.lineage.gauges import LineageGauges
    from collapse_ray.lineage.index import drift_from_stored
    from collapse_ray.lineage.launch import check_all, run_on_ray
    from collapse_ray.lineage.progress import each_of
    from collapse_ray.report.arms import read_arms
    from collapse_ray.report.results import write_results
    from collapse_ray.report.table import lineage_table
    from collapse_ray.search.gauges import RunGauges
    from collapse_ray.train.machine import check_machine

    execution = experiments[0].run
    store = Store(execution.store)
    if execution.address is None:
        check_machine(execution)  # asked again by those who start Ray; reading the data may take long
    with Display() as display:
        display.say("reading and checking the real data")
        tasks = check_all(experiments, store)
        for task in tasks:
            for line in drift_from_stored(store, task.name, task.lineage):
                display.say(f"{task.name} seed {task.lineage.seed} differs from the stored lineage: {line}")
        display.begin(tasks, execution.workers)
        reused = Reused()
        listener = each_of(reused.watching(display.on_event), LineageGauges(store), RunGauges(tasks))
        run_on_ray(tasks, execution, listener, metering(store, execution))
        results = write_results(store)
        display.show(lineage_table(results, read_arms(store, {task.name for task in tasks})))
        if execution.meter.enabled:
            show_energy(display, store, reused)
        display.say(f"results: {store}/results.parquet   figure: collapse report {store}")
