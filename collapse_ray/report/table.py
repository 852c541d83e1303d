"""Lineages as tables for a terminal, narrow enough for 80 columns."""

import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from collapse_ray.report.arms import Arm
from collapse_ray.report.headline import REAL_FRACTION, Headline, Mean, headlines, over_seeds, per_lineage

MAX_METRICS = 5
ABSENT = "-"


def lineage_table(results: pd.DataFrame, arms: Sequence[Arm]) -> Table:
    """A table for each arm, with a row for each generation: means over seeds ± half-width of their 95 % t interval.

    Args:
        results: as `load` gives them.
        arms: as `read_arms` gives them; other lineages of the results are left out.
    """
    tables = Table.grid()
    for arm in arms:
        if arm is not arms[0]:
            tables.add_row()
        chosen = results.loc[results["lineage"].isin(arm.lineages)]
        tables.add_row(_heading(arm))
        tables.add_row(_arm_table(chosen, arm, headlines(chosen, MAX_METRICS)))
    if any(len(arm.indices) > 1 for arm in arms):
        tables.add_row(Text("mean over seeds ± half-width of its 95 % t interval", style="dim"))
    return tables


def interval_text(mean: float, half_width: float | None) -> str:
    """`3.19±0.03`: to the first digit of the half-width; to four digits where there is none.

    A half-width of a rounding error, or zero, leaves the plain mean.
    """
    if half_width is None or half_width <= abs(mean) * 1e-9:
        return f"{mean:.4g}"
    decimals = -math.floor(math.log10(half_width))
    if decimals < 0:  # more than ten: whole numbers do
        return f"{mean:.0f}±{half_width:.0f}"
    return f"{mean:.{decimals}f}±{half_width:.{decimals}f}"


def _heading(arm: Arm) -> Text:
    num_seeds = len(arm.indices)
    heading = Text(arm.label, style="bold")
    seeds = f"{num_seeds} seeds" if num_seeds > 1 else f"seed {arm.indices[0]['seed']}"
    heading.append(
        f"  {arm.indices[0]['regime']} · {arm.family} on {arm.source['kind']} · {seeds} · ", style="not bold"
    )
    verdicts = Counter(index["verdict"] for index in arm.indices)
    for position, (verdict, count) in enumerate(verdicts.items()):
        share = "" if count == num_seeds else f"{count} of {num_seeds} "
        style = "bold red" if verdict == "diverged" else "not bold"
        heading.append(f"{', ' if position else ''}{share}{verdict}", style=style)
    return heading


def _arm_table(results: pd.DataFrame, arm: Arm, shown: Sequence[Headline]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    titles = [headline.title.replace(" ", "\n", 1) for headline in shown]
    # Common widths, so that the tables of all arms align; five metrics fit into 80 columns.
    for name, width in (("gen", 3), ("real\nfraction", 8), *((title, 10) for title in titles), ("time\n(s)", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    columns = [over_seeds(per_lineage(results, arm.lineages, headline.metric)) for headline in shown]
    durations = over_seeds(_durations(results))
    for generation, fraction in over_seeds(per_lineage(results, arm.lineages, REAL_FRACTION)).items():
        cells = [_cell(column.get(generation)) for column in columns]
        if cells and list(arm.diverged.values()).count(generation) == fraction.num:
            cells[0] = "[bold red]diverged[/]"
        table.add_row(str(generation), f"{fraction.value:.3g}", *cells, f"{durations[generation].value:.1f}")
    return table


def _durations(results: pd.DataFrame) -> pd.DataFrame:
    """Time of all stages: a row for each generation, a column for each lineage."""
    stages = results.drop_duplicates(subset=["lineage", "generation", "stage"])
    return stages.pivot_table(index="generation", columns="lineage", values="duration_s", aggfunc="sum")


def _cell(mean: Mean | None) -> str:
    return ABSENT if mean is None or mean.value is None else interval_text(mean.value, mean.half_width)
