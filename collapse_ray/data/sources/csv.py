"""Tables in CSV files."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.file_source import locate_file
from collapse_ray.data.table import Table, TableSource, require_distinct


class Spec(TableSource):
    """A CSV file in UTF-8, compressed or not; `path` and `holdout` are read with the same settings.

    White space around a cell is ignored; a column holds numbers when all its cells that are not missing are numbers.
    """

    separator: str = Field(default=",", min_length=1, max_length=1)
    """Character between two cells."""
    header: bool = True
    """Whether the first line read holds the names of the columns."""
    names: tuple[str, ...] | None = None
    """Names of all columns, instead of those in the header; needed without one."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Cells that mean: no value."""
    skip_rows: int = Field(default=0, ge=0)
    """Lines to skip at the top of each file."""
    comment: str | None = Field(default=None, min_length=1, max_length=1)
    """The rest of a line after this character is ignored."""
    strip: str = ""
    """Further characters to remove from both ends of a cell, as the full stop after the labels of adult.test."""

    def read_table(self, field: str, given: str) -> tuple[Table, list[Path]]:
        path = locate_file(field, given, "a CSV file")
        where = f"{field} {given!r}"
        cells = self._read_cells(where, path)
        names = self._column_names(where, cells)
        first = 1 if self.header else 0
        return {name: self._typed(name, cells[first:, index]) for index, name in enumerate(names)}, [path]

    def _read_cells(self, where: str, path: Path) -> np.ndarray:
        """All cells as text (lines, columns), the header too: pandas must guess neither types nor an index column."""
        try:
            frame = pd.read_csv(
                path,
                sep=self.separator,
                header=None,
                dtype=str,
                keep_default_na=False,
                skiprows=self.skip_rows,
                comment=self.comment,
                encoding="utf-8-sig",
                low_memory=False,
            )
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{where} is not a CSV table in UTF-8 with separator {self.separator!r}: {str(error).strip()}; "
                "check separator, skip_rows and comment"
            ) from error
        return frame.fillna("").to_numpy(dtype=object)  # a line that is too short lacks its last cells

    def _column_names(self, where: str, cells: np.ndarray) -> list[str]:
        num_columns = cells.shape[1]
        if self.names is None and not self.header:
            raise InvalidInput(f"{where} is read without a header; give names for its {num_columns} columns")
        names = [str(name).strip() for name in (self.names or cells[0])]
        if len(names) != num_columns:
            raise InvalidInput(f"{where} has {num_columns} columns, but names gives {len(names)}; name every column")
        require_distinct(where, names)
        return names

    def _typed(self, name: str, cells: np.ndarray) -> pd.Series:
        text = pd.Series(cells, name=name, dtype="str").str.strip(f" \t{self.strip}")
        text = text.mask(text.isin(self.missing))
        numbers = pd.Series(pd.to_numeric(text, errors="coerce"), name=name)
        return numbers if numbers.isna().equals(text.isna()) else text
