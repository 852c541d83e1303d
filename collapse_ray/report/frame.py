"""Any data frame as a table for a terminal."""

import pandas as pd
from rich import box
from rich.table import Table

from collapse_ray.report.table import ABSENT


def frame_table(frame: pd.DataFrame) -> Table:
    """Numbers to four digits, aligned to the right; what is null as `-`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        is_number = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(str(name), justify="right" if is_number else "left", overflow="fold")
    for row in frame.to_dict("records"):
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[arg-type]  # one value of a cell
        return ABSENT
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
