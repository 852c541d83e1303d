"""A plan as tables for a terminal or a job log."""

from rich import box
from rich.table import Table

from collapse_ray.report.table import ABSENT
from collapse_ray.search.plan.cost import Cost
from collapse_ray.search.plan.estimate import Basis, Estimate
from collapse_ray.search.plan.plan import Plan
from collapse_ray.search.plan.resources import Resources
from collapse_ray.search.plan.spec_plan import SpecPlan

RESTS_ON: dict[Basis, str] = {
    "records": "records of the same settings in this store",
    "similar records": "records of the same kind at other settings, scaled by size",
    "model": "a stated model, not on records: orders of magnitude",
}
"""What each basis means."""

SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
JOULES = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
HOURS = ((1.0, "h"),)


def estimate_text(estimate: Estimate | None, units: tuple[tuple[float, str], ...]) -> str:
    """`3.2 h (2.1 to 5)`; in the largest unit of which there is one."""
    if estimate is None:
        return "unknown"
    if estimate.high == 0:
        return "0"
    scale, name = next((unit for unit in units if estimate.value >= unit[0]), units[-1])
    value, low, high = (_digits(number / scale) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} {name} ({low} to {high})"


def _digits(number: float) -> str:
    rounded = float(f"{number:.2g}")
    return f"{rounded:g}" if rounded < 100 else f"{rounded:,.0f}"


def stage_table(plan: SpecPlan) -> Table:
    """A row for each kind of stage: how many are left, how many were found, and what those left may cost."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("stage", no_wrap=True, min_width=8)
    for name in ("compute", "reuse", "time", "energy", "disk"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("rests on", overflow="fold", min_width=7)
    for row in plan.rows:
        cost = row.cost
        table.add_row(
            row.stage,
            ABSENT if row.num_to_compute is None else str(row.num_to_compute),
            ABSENT if row.num_to_reuse is None else str(row.num_to_reuse),
            *_cells(cost.duration_s, cost.energy_j, cost.num_bytes),
            "" if not row.num_to_compute else _rests_on(cost),
        )
    return table


def _cells(duration: Estimate | None, energy: Estimate | None, num_bytes: Estimate | None) -> tuple[str, str, str]:
    return estimate_text(duration, SECONDS), estimate_text(energy, JOULES), estimate_text(num_bytes, BYTES)


def _rests_on(cost: Cost) -> str:
    """Of the time, and of the joules where that is another."""
    if cost.duration_s is None or cost.energy_j is None:
        return ABSENT
    time, joules = cost.duration_s.basis, cost.energy_j.basis
    return time if time == joules else f"{time}; energy: {joules}"


def heading(plan: SpecPlan) -> str:
    """Which lineages."""
    what = "sweep" if plan.is_sweep else "run"
    if plan.num_lineages is None:
        count = "as many lineages as the search asks for"
    else:
        most = "at most " if plan.chosen_as_it_goes else ""
        count = f"{most}{plan.num_lineages} lineage{'' if plan.num_lineages == 1 else 's'}"
    return f"{what} {plan.name}: {count}, of up to {plan.depth} generations"


def resource_line(found: Resources) -> str:
    """What a lineage takes, what there is, and how many fit."""
    workers = f"{_count(found.workers, 'worker')}, " if found.workers else ""
    gpus = f" and {_count(found.gpus, 'GPU')}" if found.gpus else ""
    kept = f", {_count(found.data_cpus, 'CPU')} kept for reading data" if found.data_cpus else ""
    there = f"{_count(found.available_cpus, 'CPU')} and {_count(found.available_gpus, 'GPU')}"
    takes = f"a lineage takes {workers}{_count(found.cpus, 'CPU')}{gpus}{kept}; {found.where} has {there}"
    if not found.fits:
        return f"does not fit: {takes}; lower run.workers, run.cpus_per_worker or run.gpus_per_worker"
    return f"{takes}: {found.at_once} at a time"


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def plan_lines(plan: SpecPlan) -> list[str]:
    """The sums, and what they mean."""
    cost = plan.cost
    lines = [
        f"work: {estimate_text(cost.duration_s, SECONDS)} of stages, GPUs {estimate_text(cost.gpu_hours, HOURS)}, "
        f"{estimate_text(cost.energy_j, JOULES)}, {estimate_text(cost.num_bytes, BYTES)} of disk",
        f"elapsed: {estimate_text(plan.elapsed_s, SECONDS)}, without the start of Ray and its workers",
        resource_line(plan.resources),
    ]
    return [*lines, *(f"note: {note}" for note in plan.notes)]


def footnotes(plan: Plan) -> list[str]:
    """What all figures have in common."""
    quantities = [each for spec in plan.specs for row in spec.rows for each in (row.cost.duration_s, row.cost.energy_j)]
    used = {each.basis for each in quantities if each is not None and each.high > 0}
    rests = [f"{basis}: {meaning}" for basis, meaning in RESTS_ON.items() if basis in used]
    bound = "every lineage is counted to its depth: stop rules, schedulers and divergence only make it less"
    return [*rests, bound, *plan.notes, f"store: {plan.store}, {plan.num_records} records; nothing was written"]
