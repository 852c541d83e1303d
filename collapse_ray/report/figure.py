"""Lineages as one figure: metrics over generations, and what the samples look like."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from collapse_ray.artifact.store import Store
from collapse_ray.report.arms import Arm
from collapse_ray.report.headline import REAL_FRACTION, SHARE, Headline, headlines, over_seeds, per_lineage
from collapse_ray.report.samples import contact_sheet, first_samples

MAX_METRICS = 5
PANELS_PER_ROW = 3
SHEETS_PER_ROW = 2
SAMPLES_PER_ROW = 32
"""Over the whole width of the figure."""

WIDTH, PANEL_HEIGHT = 11.0, 2.5
"""Inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinct for all kinds of colour vision (Okabe and Ito 2008)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", ":", "-.")

POOL = Headline(REAL_FRACTION, "real data in the training pool", "share of rows", SHARE)


def lineage_figure(store: Store, results: pd.DataFrame, arms: Sequence[Arm], path: Path) -> None:
    """Draws arms on the same source and writes the figure in the format of the path's suffix (.png, .svg, .pdf).

    Each panel has a quantity over generations: every lineage as a thin line, the mean over the seeds of an arm with its
    95 % t interval. Lineages of images show samples as well.

    Args:
        store: holds the lineages; samples are read from it.
        results: as `load` gives them.
        arms: one group of `by_source`.
        path: the file to write; its folder exists.
    """
    panels = [POOL, *headlines(results.loc[results["lineage"].isin(_lineages(arms))], MAX_METRICS)]
    sheets = arms if arms[0].payload.kind == "image" else ()
    heights = [PANEL_HEIGHT * math.ceil(len(panels) / PANELS_PER_ROW)]
    if sheets:
        heights.append(_sheets_height(sheets))
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.8), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    figure.suptitle(_title(arms), fontsize=13)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    _draw_panels(parts[0, 0], results, arms, panels)
    if sheets:
        _draw_sheets(parts[1, 0], store, sheets)
    figure.savefig(path)


def _lineages(arms: Sequence[Arm]) -> list[str]:
    return [lineage for arm in arms for lineage in arm.lineages]


def _title(arms: Sequence[Arm]) -> str:
    families = ", ".join(dict.fromkeys(arm.family for arm in arms))
    return f"source: {arms[0].source['kind']}   ·   family: {families}"


# Curves ----------------------------------------------------------------------------------------


def _draw_panels(part: SubFigure, results: pd.DataFrame, arms: Sequence[Arm], panels: Sequence[Headline]) -> None:
    rows = math.ceil(len(panels) / PANELS_PER_ROW)
    axes = part.subplots(rows, PANELS_PER_ROW, squeeze=False, sharex=True).reshape(-1)
    for axis, headline in zip(axes, panels, strict=False):
        for position, arm in enumerate(arms):
            _draw_arm(axis, per_lineage(results, arm.lineages, headline.metric), arm, position)
        unit = "nats per token" if headline.unit == "nats" and arms[0].payload.kind == "tokens" else headline.unit
        axis.set_title(headline.title, fontsize=11)
        axis.set_ylabel(unit)
        axis.set_ylim(*headline.limits)
        axis.set_xlabel("generation")
        axis.tick_params(labelbottom=True)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    part.align_ylabels(list(axes))
    handles, labels = axes[0].get_legend_handles_labels()
    part.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False)


def _draw_arm(axis: Axes, values: pd.DataFrame, arm: Arm, position: int) -> None:
    if values.empty:
        return
    colour = COLOURS[position % len(COLOURS)]
    means = over_seeds(values)
    generations = list(means)
    if len(arm.indices) > 1:
        axis.plot(generations, values.to_numpy(dtype=float, na_value=np.nan), color=colour, linewidth=0.7, alpha=0.5)
    mean = _floats([point.value for point in means.values()])
    half_width = _floats([point.half_width for point in means.values()])
    axis.fill_between(generations, mean - half_width, mean + half_width, color=colour, alpha=0.15, linewidth=0)
    axis.plot(
        generations,
        mean,
        color=colour,
        marker=MARKERS[position % len(MARKERS)],
        linestyle=LINES[position // len(COLOURS) % len(LINES)],
        # Smaller from arm to arm, so that a curve shows below another that coincides with it.
        markersize=max(4, 7 - position),
        linewidth=max(1.2, 2.4 - 0.4 * position),
        label=_label(arm),
    )


def _label(arm: Arm) -> str:
    num_seeds = len(arm.indices)
    label = arm.label if num_seeds == 1 else f"{arm.label} ({num_seeds} seeds)"
    if arm.diverged:
        share = "" if num_seeds == 1 else f"{len(arm.diverged)} of {num_seeds} "
        label += f", {share}diverged in generation {min(arm.diverged.values())}"
    return label


def _floats(values: Sequence[float | None]) -> np.ndarray:
    """For matplotlib, which leaves a gap where a number is NaN."""
    return np.array(values, dtype=float)


# Samples ---------------------------------------------------------------------------------------


def _grid(arms: Sequence[Arm]) -> tuple[int, int, int]:
    """Rows and columns of sheets, and samples per generation in each."""
    columns = min(SHEETS_PER_ROW, len(arms))
    return math.ceil(len(arms) / columns), columns, SAMPLES_PER_ROW // columns


def _sheets_height(arms: Sequence[Arm]) -> float:
    """Inches for all sheets, each of which has one row of samples for each generation."""
    rows, columns, num_samples = _grid(arms)
    _, height, width = arms[0].payload.shape
    generations = max(len(index["generations"]) for arm in arms for index in arm.indices)
    sample = (WIDTH / columns - 0.7) / num_samples * height / width
    return rows * (generations * sample + 0.4)


def _draw_sheets(part: SubFigure, store: Store, arms: Sequence[Arm]) -> None:
    rows, columns, num_samples = _grid(arms)
    axes = part.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis, arm in zip(axes, arms, strict=False):
        contact = first_samples(store, arm.indices[0], num_samples)
        sheet = contact_sheet(contact)
        axis.imshow(sheet if sheet.shape[-1] > 1 else sheet[..., 0], cmap="gray", vmin=0, vmax=255)
        step = arm.payload.shape[1] + 1
        names = ["real" if generation == 0 else str(generation) for generation in contact.generations]
        axis.set_yticks([row * step + step / 2 - 1 for row in range(len(names))], names)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_ylabel("samples of generation")
        axis.set_title(f"{arm.label}, seed {arm.indices[0]['seed']}", fontsize=11)
    for axis in axes[len(arms) :]:
        axis.set_visible(False)
