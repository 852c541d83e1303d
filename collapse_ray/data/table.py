"""Tables as vectors: numbers standardised, categories one-hot."""

import json
import logging
from abc import abstractmethod
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

import numpy as np
import pandas as pd
from pydantic import Field

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.payload import Payload
from collapse_ray.config.spec import Json
from collapse_ray.data.file_source import FileSource, checksum, require_samples
from collapse_ray.data.source import ArrayRows, RealData

log = logging.getLogger(__name__)

COLUMNS = "columns.json"
"""Kept with the data: what each coordinate of a vector means, so that samples can be turned back into a table."""

ONE_HOT = ("string", "boolean", "categorical", "integer", "floating")
"""What pandas calls the values that can be levels."""

Table: TypeAlias = dict[str, pd.Series]
"""Columns of one length by name."""


@dataclass(frozen=True)
class NumberColumn:
    """One coordinate, (value - mean) / std."""

    name: str
    mean: float
    std: float
    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, where: str, values: pd.Series, standardise: bool) -> Self:
        name = str(values.name)
        if not standardise:
            return cls(name, 0.0, 1.0)
        numbers = _finite(where, values)
        # Compared by value: the computed std of equal numbers can be a rounding error above 0.
        if numbers.min() == numbers.max():
            raise InvalidInput(
                f"{where}: column {name!r} is {numbers[0]} in every row and cannot be standardised; "
                "leave it out of columns, or set standardise: false"
            )
        return cls(name, float(numbers.mean()), float(numbers.std()))

    def encode(self, where: str, values: pd.Series) -> np.ndarray:
        """(N,) -> (N, 1)."""
        if not is_number(values):
            raise InvalidInput(f"{where}: column {self.name!r} is not numbers, as it is in path; give the same columns")
        numbers = _finite(where, values)
        return ((numbers - self.mean) / self.std)[:, None]


@dataclass(frozen=True)
class OneHotColumn:
    """One coordinate for each level, 1 for the row's level and 0 for the others."""

    name: str
    levels: tuple[str | int | float | bool, ...]
    kind: ClassVar[str] = "one_hot"

    @classmethod
    def fit(cls, values: pd.Series) -> Self:
        return cls(str(values.name), tuple(np.unique(values.to_numpy()).tolist()))

    def encode(self, where: str, values: pd.Series) -> np.ndarray:
        """(N,) -> (N, number of levels)."""
        codes = pd.Index(self.levels).get_indexer(pd.Index(values))
        if (codes < 0).any():
            unknown = sorted({str(level) for level in values[codes < 0]})
            raise InvalidInput(
                f"{where}: column {self.name!r} has {len(unknown)} level(s) that path has not: "
                f"{', '.join(map(repr, unknown[:5]))}; path has {', '.join(map(repr, self.levels[:20]))}. "
                "Bring both to the same levels, or leave the column out of columns"
            )
        return np.eye(len(self.levels))[codes]


class TableSource(FileSource):
    """A table whose rows become vectors (D,) of float64."""

    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Columns of the vector, in this order: numbers take one coordinate, text and booleans one for each level
    (one-hot, levels sorted). None takes every column of numbers."""
    categorical: tuple[str, ...] = ()
    """Columns of numbers that are codes: one-hot, too."""
    standardise: bool = True
    """Numbers become (value - mean) / std with mean and std of the rows taken from `path`."""
    drop_missing: bool = False
    """Drops rows with a missing value in a column used, before `num_samples` are taken."""

    @abstractmethod
    def read_table(self, field: str, given: str) -> tuple[Table, list[Path]]:
        """The whole table and the files it was read from.

        Raises:
            InvalidInput: the files cannot be read as a table.
        """

    def open(self, seed: int) -> RealData:
        where = f"path {self.path!r}"
        table, files = self.read_table("path", self.path)
        table = self._complete("path", self.path, table, self._names(where, table))
        num_taken = self.limit(_num_rows(table))
        table = {name: values.iloc[:num_taken] for name, values in table.items()}
        encoders = [self._fit(where, values) for values in table.values()]
        rows = _vectors(where, table, encoders)
        content: dict[str, Json] = {"path": checksum(files)}
        holdout = None
        if self.holdout is not None:
            held_out, files = self.read_table("holdout", self.holdout)
            held_out = self._complete("holdout", self.holdout, held_out, list(table))
            holdout = _vectors(f"holdout {self.holdout!r}", held_out, encoders)
            content["holdout"] = checksum(files)
        described = [{"kind": encoder.kind, **asdict(encoder)} for encoder in encoders]
        return RealData(
            payload=Payload("vector", rows.array.shape[1:]),
            rows=rows,
            holdout=holdout,
            content=content,
            files={COLUMNS: json.dumps(described, indent=1).encode()},
        )

    def _names(self, where: str, table: Table) -> list[str]:
        """The columns that make the vector, in its order."""
        names = list(self.columns or [])
        if len(set(names)) < len(names):
            raise InvalidInput(f"columns names a column twice: {', '.join(names)}; name each once")
        if self.columns is None:
            names = [name for name, values in table.items() if is_number(values) or name in self.categorical]
            left_out = [name for name in table if name not in names]
            if not names:
                raise InvalidInput(f"{where} has no column of numbers; set columns to some of: {', '.join(left_out)}")
            if left_out:
                log.warning("%s: left out the columns that are not numbers: %s", where, ", ".join(left_out))
        for name in self.categorical:
            if name not in names:
                raise InvalidInput(
                    f"{where}: categorical names {name!r}, which is not used; {did_you_mean(name, names)}"
                )
        return names

    def _complete(self, field: str, given: str, table: Table, names: list[str]) -> Table:
        """The columns used, without missing values."""
        where = f"{field} {given!r}"
        for name in names:
            if name not in table:
                raise InvalidInput(f"{where} has no column {name!r}; {did_you_mean(name, table)}")
        require_samples(field, given, _num_rows(table))
        missing = {name: table[name].isna().to_numpy() for name in names}
        for name in names:
            if missing[name].all():
                raise InvalidInput(f"{where}: column {name!r} has no value in any row; leave it out of columns")
        incomplete = np.logical_or.reduce(list(missing.values()))
        if incomplete.any() and not self.drop_missing:
            counts = ", ".join(f"{name!r} ({gaps.sum()})" for name, gaps in missing.items() if gaps.any())
            raise InvalidInput(
                f"{where}: missing values in {counts} of {len(incomplete)} rows; set drop_missing: true to drop them, "
                "fill them in the file, or leave the columns out of columns"
            )
        if incomplete.all():
            raise InvalidInput(
                f"{where}: every row has a missing value, so drop_missing leaves none; "
                f"set columns to fewer than: {', '.join(names)}"
            )
        return {name: table[name].loc[~incomplete] for name in names}

    def _fit(self, where: str, values: pd.Series) -> NumberColumn | OneHotColumn:
        if is_number(values) and values.name not in self.categorical:
            return NumberColumn.fit(where, values, self.standardise)
        found = pd.api.types.infer_dtype(values)
        if found not in ONE_HOT:
            raise InvalidInput(
                f"{where}: column {values.name!r} holds {found} values; allowed are numbers, text and booleans: "
                "convert it or leave it out of columns"
            )
        return OneHotColumn.fit(values)


def is_number(values: pd.Series) -> bool:
    """Whether a column holds real numbers; booleans are categories."""
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)


def require_distinct(where: str, names: list[str]) -> None:
    """Refuses two columns of one name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidInput(f"{where} has more than one column named {repeated[0]!r}; give every column its own name")


def _finite(where: str, values: pd.Series) -> np.ndarray:
    """The numbers of a complete column: float64 (N,)."""
    numbers = values.to_numpy(dtype=np.float64)
    if np.isinf(numbers).any():
        raise InvalidInput(
            f"{where}: column {values.name!r} holds {np.isinf(numbers).sum()} infinite value(s); "
            "vectors are finite: remove these rows or leave the column out of columns"
        )
    return numbers


def _num_rows(table: Table) -> int:
    return len(next(iter(table.values()), ()))


def _vectors(where: str, table: Table, encoders: list[NumberColumn | OneHotColumn]) -> ArrayRows:
    return ArrayRows(np.hstack([encoder.encode(where, table[encoder.name]) for encoder in encoders]))
