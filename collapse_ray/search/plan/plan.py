"""A dry run: what a command would compute and find, what it takes, and what that may cost. Nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.lineage.spec import Experiment
from collapse_ray.search.outcome import read_sweep
from collapse_ray.search.places import Node
from collapse_ray.search.plan.cost import Cost, Estimator
from collapse_ray.search.plan.history import read_past
from collapse_ray.search.plan.lineages import most_lineages, of_experiment, of_sweep, probes_of
from collapse_ray.search.plan.listed import Left, left_of
from collapse_ray.search.plan.resources import Resources, nodes_for, resources
from collapse_ray.search.plan.spec_plan import SpecPlan, elapsed
from collapse_ray.search.plan.unlisted import bounded, dearest, unbounded
from collapse_ray.search.plan.walk import Needed
from collapse_ray.search.spec import Sweep

NO_NODE: Node = {"CPU": 1.0}


@dataclass(frozen=True)
class Plan:
    """One or more spec files in one store."""

    store: str
    num_records: int
    """Of the store, on which estimates may rest."""
    specs: tuple[SpecPlan, ...]
    cost: Cost
    """Of all files."""
    notes: tuple[str, ...]


def make_plan(specs: Sequence[Experiment | Sweep]) -> Plan:
    """Plans spec files that share their run settings.

    Raises:
        InvalidInput: a lineage or a sweep cannot run, or nothing answers at the cluster's address.
        StoreError: the store cannot be read.
    """
    run = specs[0].run
    for spec in specs:
        if spec.run != run:
            raise InvalidInput(
                f"{spec.name}: its run settings differ from those of {specs[0].name}; plan them in two commands, or "
                "override what differs with run.KEY=VALUE"
            )
    store, nodes = Store(run.store), nodes_for(run)
    past = read_past(store)
    largest = max(nodes, key=lambda node: node.get("CPU", 0.0), default=NO_NODE)
    planner = _Planner(store, nodes, Estimator(past.history, run, largest))
    plans = tuple(planner.sweep(spec) if isinstance(spec, Sweep) else planner.experiment(spec) for spec in specs)
    notes = []
    if past.num_unread:
        notes.append(f"{past.num_unread} records of the store could not be read, and are in no estimate")
    if run.keep != "all":
        notes.append(
            f"run.keep={run.keep} removes files later: bytes are those written, and what lineages share beyond "
            "generation 1 may be computed again, which is not counted"
        )
    return Plan(str(store), past.num_read, plans, Cost.total([plan.cost for plan in plans]), tuple(notes))


class _Planner:
    """Plans one file after the other; what a former one computes, later ones find."""

    def __init__(self, store: Store, nodes: Sequence[Node], estimator: Estimator) -> None:
        self._store, self._nodes, self._estimator = store, nodes, estimator
        self._needed = Needed(store)

    def experiment(self, experiment: Experiment) -> SpecPlan:
        run = experiment.run
        left = left_of(of_experiment(experiment), self._needed, self._estimator)
        found = resources(run, self._nodes, is_sweep=False, data_cpus=run.data_cpus, limit=None)
        return SpecPlan(
            name=experiment.name,
            is_sweep=False,
            depth=experiment.lineages[0].depth,
            num_lineages=len(experiment.lineages),
            chosen_as_it_goes=False,
            rows=left.rows,
            cost=left.cost,
            elapsed_s=elapsed(left.cost, left.longest_s, found.at_once),
            resources=found,
        )

    def sweep(self, sweep: Sweep) -> SpecPlan:
        lineages = of_sweep(sweep)
        num_lineages = most_lineages(sweep) if lineages is None else len(lineages)
        if lineages is None:
            left, notes = self._unlisted(sweep, num_lineages)
        else:
            left, notes = left_of(lineages, self._needed, self._estimator), []
        found = self._resources(sweep)
        return SpecPlan(
            name=sweep.name,
            is_sweep=True,
            depth=sweep.spec.depth,
            num_lineages=num_lineages,
            chosen_as_it_goes=lineages is None,
            rows=left.rows,
            cost=left.cost,
            elapsed_s=elapsed(left.cost, left.longest_s, found.at_once),
            resources=found,
            notes=(*notes, *_budget_notes(sweep, left.cost)),
        )

    def _unlisted(self, sweep: Sweep, num_lineages: int | None) -> tuple[Left, list[str]]:
        one = dearest(probes_of(sweep), self._estimator)
        document = read_sweep(self._store, sweep)
        notes = ["the search chooses lineages as it goes: each is counted as the dearest corner, sharing nothing"]
        if document is not None and document.outcome.state == "complete":
            notes = ["the store has the outcome of this sweep, and it is complete"]
        elif document is not None and document.outcome.ended:
            notes.append(f"{len(document.outcome.ended)} lineages have ended in the store, and are not counted")
        if num_lineages is not None:
            return bounded(sweep, num_lineages, one, document), notes
        duration = one.cost.duration_s
        each = "" if duration is None else f"; one lineage takes up to {duration.value:,.0f} s"
        return unbounded(one), [*notes, f"nothing bounds their number: give budget.trials or budget.generations{each}"]

    def _resources(self, sweep: Sweep) -> Resources:
        run = sweep.run
        limit = sweep.spec.max_concurrent
        return resources(run, self._nodes, is_sweep=True, data_cpus=sweep.data_cpus, limit=limit)


def _budget_notes(sweep: Sweep, cost: Cost) -> list[str]:
    """Limits that may end the sweep before all of it is done."""
    budget = sweep.spec.budget
    limits = (("joules", budget.joules, cost.energy_j), ("gpu_hours", budget.gpu_hours, cost.gpu_hours))
    notes = [
        f"budget.{name}={limit:g} may end the sweep before"
        for name, limit, estimate in limits
        if limit is not None and (estimate is None or estimate.high > limit)
    ]
    if budget.generations is not None:
        notes.append(f"budget.generations={budget.generations} ends the sweep, whatever is left")
    return notes
