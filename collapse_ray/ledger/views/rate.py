"""Something per kWh (grams, money) that may vary over time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self, TypeVar

import numpy as np

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.views.provenance import Provenance

COVERAGE_TOLERANCE_S = 1e-3
"""Unix seconds in double precision are good to a microsecond; sums of them to less than this."""
_MAX_UNIX_S = 1e11

Quantity = TypeVar("Quantity", float, np.ndarray)
"""One number, or a column (N,) of them in which NaN is unknown."""


class Rate(Protocol):
    """A quantity per kWh."""

    @property
    def provenance(self) -> Provenance: ...

    def mean(self, begin_unix_s: np.ndarray, end_unix_s: np.ndarray) -> np.ndarray:
        """Its mean over each interval (N,), for energy that was used evenly within it.

        Raises:
            InvalidInput: it is not known for all of an interval.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """The same at all times."""

    value: float
    provenance: Provenance

    def mean(self, begin_unix_s: np.ndarray, end_unix_s: np.ndarray) -> np.ndarray:
        return np.full(len(begin_unix_s), self.value)


@dataclass(frozen=True)
class Steps:
    """Values (K,) that hold from `begin_unix_s` to `end_unix_s` (K,), in ascending order and without overlap."""

    begin_unix_s: np.ndarray
    end_unix_s: np.ndarray
    values: np.ndarray
    where: str
    """Names the series in an error."""
    provenance: Provenance

    @classmethod
    def from_times(
        cls,
        unix_s: np.ndarray,
        values: np.ndarray,
        step_s: float | None,
        where: str,
        provenance: Provenance,
    ) -> Self:
        """Each value (K,) holds from its time (K,) to the next one, but for `step_s` at most; NaN is a gap.

        `step_s` of None is the smallest distance between two times.

        Raises:
            InvalidInput: there is no value, times do not ascend, or a single one has no `step_s`.
        """
        known = ~np.isnan(values)
        if not known.any():
            raise InvalidInput(f"{where} holds no values; give a series that covers the time of the accounts")
        if not np.all(np.abs(unix_s) < _MAX_UNIX_S):
            raise InvalidInput(f"{where} has the time {unix_s.max():.15g}; times are Unix seconds, not milliseconds")
        distances_s = np.diff(unix_s)
        if (distances_s <= 0).any():
            index = int(np.argmax(distances_s <= 0))
            raise InvalidInput(
                f"{where} has {_time(unix_s[index + 1])} after {_time(unix_s[index])}; give each time once, ascending"
            )
        if step_s is None and len(unix_s) == 1:
            raise InvalidInput(f"{where} holds one value; give step_s, the seconds for which it holds")
        hold_s = float(distances_s.min()) if step_s is None else step_s
        end_unix_s = unix_s + np.minimum(np.append(distances_s, hold_s), hold_s)
        return cls(unix_s[known], end_unix_s[known], values[known], where, provenance)

    def mean(self, begin_unix_s: np.ndarray, end_unix_s: np.ndarray) -> np.ndarray:
        lasts = end_unix_s > begin_unix_s
        covered_s, integral = (self._until(end_unix_s) - self._until(begin_unix_s)).T
        held = np.searchsorted(self.begin_unix_s, begin_unix_s, side="right") - 1
        inside = (held >= 0) & (begin_unix_s <= self.end_unix_s[held])
        known = np.where(lasts, covered_s >= end_unix_s - begin_unix_s - COVERAGE_TOLERANCE_S, inside)
        if not known.all():
            row = int(np.argmin(known))
            raise InvalidInput(self._gap(float(begin_unix_s[row]), float(end_unix_s[row])))
        return np.where(lasts, integral / np.where(lasts, covered_s, 1.0), self.values[held])

    def _until(self, unix_s: np.ndarray) -> np.ndarray:
        """Seconds covered, and the integral of the values over them, up to each time (N, 2).

        Both are piecewise linear, so linear interpolation between the ends of the steps is exact.
        """
        lengths_s = self.end_unix_s - self.begin_unix_s
        ends = np.stack([self.begin_unix_s, self.end_unix_s], axis=1).ravel()
        sums = [np.insert(np.cumsum(part), 0, 0.0) for part in (lengths_s, lengths_s * self.values)]
        cumulated = [np.stack([sum_[:-1], sum_[1:]], axis=1).ravel() for sum_ in sums]
        return np.stack([np.interp(unix_s, ends, part) for part in cumulated], axis=1)

    def _gap(self, begin_unix_s: float, end_unix_s: float) -> str:
        asked = f"{_time(begin_unix_s)} to {_time(end_unix_s)}"
        within = (self.end_unix_s > begin_unix_s) & (self.begin_unix_s < end_unix_s)
        reached = np.concatenate([[begin_unix_s], self.end_unix_s[within]])
        after = np.concatenate([self.begin_unix_s[within], [end_unix_s]])
        hole = int(np.argmax(after - reached > COVERAGE_TOLERANCE_S))
        missing = f"{_time(reached[hole])} to {_time(after[hole])}"
        covers = f"{_time(self.begin_unix_s[0])} to {_time(self.end_unix_s[-1])}"
        return (
            f"{self.where} has no value for {missing}, but energy was used from {asked}; it covers {covers}: "
            "add the missing values, or give step_s where each value holds for longer"
        )


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(float(unix_s), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
