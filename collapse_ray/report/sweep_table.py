"""A sweep as tables for a terminal or a job log."""

from collections.abc import Mapping, Sequence

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from collapse_ray.report.sweep_arms import SweepArm
from collapse_ray.report.table import ABSENT
from collapse_ray.search.accounting import SweepCost
from collapse_ray.search.verdict import Verdict

MAX_NAMED = 3
"""Stopped lineages that are named in a sentence."""

SURPRISING = 0.05
"""A p-value below it is shown."""

STYLES = {"collapsed": "bold red", "collapsing": "yellow", "survived": "green", "healthy": "green"}


def verdict_words(verdicts: Mapping[str, Verdict]) -> Text:
    """A profile in few words: what has collapsed, or begins to, and since which generation."""
    for status in ("collapsed", "collapsing"):
        found = [verdict for verdict in verdicts.values() if verdict.status == status]
        if found:
            since = ", ".join(f"{verdict.kind} at {verdict.generation}" for verdict in found)
            return Text.assemble((status, STYLES[status]), f": {since}")
    decided = {verdict.status for verdict in verdicts.values()} - {"not measured"}
    if decided == {"healthy"}:
        return Text("healthy", STYLES["healthy"])
    healthy = sum(verdict.status == "healthy" for verdict in verdicts.values())
    measured = sum(verdict.status != "not measured" for verdict in verdicts.values())
    return Text(f"undecided ({healthy} of {measured} healthy)" if measured else ABSENT)


def joules(energy_j: float | None) -> str:
    """Joules to four digits; `-` where they are not known."""
    if energy_j is None:
        return ABSENT
    return f"{energy_j:.4g} J" if energy_j < 1e4 else f"{energy_j / 1e3:,.4g} kJ"


def arms_table(arms: Sequence[SweepArm], energies: Sequence[float | None]) -> Table:
    """A row for each arm: how far its lineages came, whether it survived, by which verdicts, and its joules.

    Args:
        arms: as `sweep_arms` gives them.
        energies: joules of each arm's artifacts; what arms share is in each of them.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("lineages", overflow="fold")
    for name in ("seeds", "generations"):
        table.add_column(name, justify="right")
    table.add_column("outcome")
    table.add_column("verdicts", overflow="fold")
    table.add_column("energy", justify="right", no_wrap=True)
    for arm, energy_j in zip(arms, energies, strict=True):
        table.add_row(
            arm.label or ABSENT,
            str(len(arm.lineages)),
            _reached(arm),
            Text(_outcome(arm), STYLES.get(arm.survival, "")),
            verdict_words(arm.verdicts),
            joules(energy_j),
        )
    return table


def _outcome(arm: SweepArm) -> str:
    """How many lineages ended as the arm did; of an undecided one, how many survived."""
    counted = "survived" if arm.survival == "undecided" else arm.survival
    count = f"{arm.survivals.count(counted)} of {len(arm.survivals)}"
    return f"{arm.survival} ({count}{' survived' if arm.survival == 'undecided' else ''})"


def _reached(arm: SweepArm) -> str:
    reached = sorted({lineage.generation for lineage in arm.lineages})
    return str(reached[0]) if len(reached) == 1 else f"{reached[0]} to {reached[-1]}"


def frontier_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The frontiers of one sweep for a reader: without the columns that say nothing in any row."""
    said = frame.dropna(axis="columns", how="all").columns
    falls = frame["fall_p_value"].fillna(1).to_numpy(dtype=float).min(initial=1) < SURPRISING
    silent = ("sweep", "num_generations") if falls else ("sweep", "num_generations", "fall_p_value")
    return frame.reindex(columns=[name for name in said if name not in silent])


def cost_lines(cost: SweepCost) -> list[str]:
    """What the sweep cost, and what stopping early and sharing saved."""
    lines = [f"spent: {joules(cost.spent.energy_j)} over {_seconds(cost.spent.duration_s)} of stages"]
    if cost.stopped:
        which = ", ".join(f"{each.lineage} after generation {each.generation}" for each in cost.stopped[:MAX_NAMED])
        more = f" and {len(cost.stopped) - MAX_NAMED} more" if len(cost.stopped) > MAX_NAMED else ""
        lines.append(
            f"saved by stopping {_count(len(cost.stopped), 'lineage')} early ({which}{more}): "
            f"{joules(cost.saved_by_stopping.energy_j)}, {_seconds(cost.saved_by_stopping.duration_s)} (estimated)"
        )
    if cost.num_shared:
        lines.append(
            f"saved by sharing {_count(cost.num_shared, 'artifact')}: {joules(cost.saved_by_sharing.energy_j)}, "
            f"{_seconds(cost.saved_by_sharing.duration_s)}"
        )
    if cost.num_unmeasured:
        verb = "has no joules: it is" if cost.num_unmeasured == 1 else "have no joules: they are"
        lines.append(f"{_count(cost.num_unmeasured, 'artifact')} {verb} in none of these sums")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _seconds(duration_s: float | None) -> str:
    return ABSENT if duration_s is None else f"{duration_s:,.0f} s" if duration_s >= 10 else f"{duration_s:.2g} s"
