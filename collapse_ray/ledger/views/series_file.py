"""A user's time series in a CSV or Parquet file."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Steps

_OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"


class SeriesFile(Spec):
    """A column of values and one of the times at which they begin to hold."""

    located: ClassVar[frozenset[str]] = frozenset({"path"})

    path: str
    """A CSV (`.csv`, also compressed) or Parquet (`.parquet`) file; a relative path starts at the working directory."""
    time: str = "time"
    """Column of times: Unix seconds, or ISO 8601 with an offset (`2026-03-29T01:00:00+01:00`, `...Z`)."""
    value: str = "per_kwh"
    """Column of values; an empty cell is a gap."""
    step_s: float | None = Field(default=None, gt=0)
    """Longest time that one value holds for; None takes the smallest distance between two times of the file."""
    source: str = Field(min_length=1)
    """Who publishes the series, for the notes beside every number that comes from it."""

    def read(self, unit: str) -> Steps:
        """The series; `unit` is that of the values.

        Raises:
            InvalidInput: the file cannot be read, lacks a column, or its times are not clear or do not ascend.
        """
        where = f"series {self.path!r}"
        table = self._table(where)
        for column in (self.time, self.value):
            if column not in table:
                raise InvalidInput(f"{where} has no column {column!r}; {did_you_mean(column, map(str, table.columns))}")
        times, given = pd.Series(table[self.time]), pd.Series(table[self.value])
        values = pd.Series(pd.to_numeric(given, errors="coerce"))
        strangers = list(given[values.isna() & given.notna()])
        if strangers:
            raise InvalidInput(f"{where}, column {self.value!r}: {strangers[0]!r} is not a number")
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        provenance = Provenance(f"a series of {len(table)} values in {unit}", self.source, method=f"file {self.path}")
        return Steps.from_times(self._unix_s(times, where), numbers, self.step_s, where, provenance)

    def _table(self, where: str) -> pd.DataFrame:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise InvalidInput(
                f"{where} is not a file (working directory: {Path.cwd()}); give an existing CSV or Parquet file"
            )
        try:
            return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        except (ValueError, OSError) as error:  # the parsers' own errors are ValueErrors
            raise InvalidInput(f"{where} cannot be read: {error}; give a CSV or Parquet table") from error

    def _unix_s(self, times: pd.Series, where: str) -> np.ndarray:
        if times.isna().any():
            raise InvalidInput(f"{where}, column {self.time!r} has an empty cell; give a time for each value")
        if pd.api.types.is_numeric_dtype(times):
            return times.to_numpy(dtype=float)
        if not isinstance(times.dtype, pd.DatetimeTZDtype):
            times = self._parsed(times.astype(str), where)
        return (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()

    def _parsed(self, times: pd.Series, where: str) -> pd.Series:
        unclear = list(times[~times.str.contains(_OFFSET)])
        if unclear:
            raise InvalidInput(
                f"{where}, column {self.time!r}: {unclear[0]!r} has no offset from UTC; "
                "give Unix seconds, or ISO 8601 with an offset such as 2026-03-29T01:00:00Z"
            )
        try:
            return pd.Series(pd.to_datetime(times, format="ISO8601", utc=True))
        except ValueError as error:
            raise InvalidInput(f"{where}, column {self.time!r}: {error}; give ISO 8601 or Unix seconds") from error
