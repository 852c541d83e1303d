"""Metrics of replicates, generation by generation, as verdicts read them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import PayloadKind

STDERR = "_stderr"
"""A metric's standard error, where it is known, is the metric of the same name with this suffix."""


@dataclass(frozen=True)
class Replicate:
    """One lineage so far.

    `metrics` holds, for each generation t >= 1 that was evaluated, the values by metric: None where the metric is not
    defined. `diverged` is the generation in which training diverged; it has no metrics.
    """

    seed: int
    metrics: Mapping[int, Mapping[str, float | None]]
    diverged: int | None = None


@dataclass(frozen=True)
class Failure:
    """The first generation from which a value is not finite, and what happened there."""

    generation: int
    reason: str


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of all replicates, at the T generations that all of them have, before any failure.

    `generations` (T,) begins with 1; `values` and `variances` are (S, T). `variances` are the squared standard errors
    and None unless every value has one.
    """

    generations: np.ndarray
    values: np.ndarray
    variances: np.ndarray | None
    failure: Failure | None


@dataclass(frozen=True)
class Series:
    """Replicates of one arm: lineages that differ in their seeds alone.

    A generation counts once every replicate has it, so that it is looked at once.
    """

    payload: PayloadKind
    replicates: tuple[Replicate, ...] = field(default_factory=tuple)

    def until(self, generation: int) -> Self:
        """What was known after that generation."""
        return replace(self, replicates=tuple(_until(replicate, generation) for replicate in self.replicates))

    def measured(self, metric: str) -> Measured | None:
        """One metric; None where some replicate's generation 1 was evaluated and does not define it, or none was.

        Divergence counts for every metric, even where nothing was measured before it.
        """
        firsts = [replicate.metrics[1] for replicate in self.replicates if 1 in replicate.metrics]
        failure = self._failure(metric)
        if any(not _finite(first.get(metric)) for first in firsts) or (not firsts and failure is None):
            return None
        generations = self._common_generations(metric, failure)
        return Measured(
            np.array(generations, np.int64),
            self._matrix(metric, generations),
            self._variances(metric + STDERR, generations),
            failure,
        )

    def _failure(self, metric: str) -> Failure | None:
        failures = [
            Failure(generation, f"{metric} of seed {replicate.seed} is not finite at generation {generation}")
            for replicate in self.replicates
            for generation, values in replicate.metrics.items()
            if metric in values and not _finite(values[metric])
        ]
        failures += [
            Failure(replicate.diverged, f"seed {replicate.seed} diverged at generation {replicate.diverged}")
            for replicate in self.replicates
            if replicate.diverged is not None
        ]
        return min(failures, key=lambda failure: failure.generation, default=None)

    def _common_generations(self, metric: str, failure: Failure | None) -> list[int]:
        having = [{t for t, values in replicate.metrics.items() if metric in values} for replicate in self.replicates]
        common = sorted(set.intersection(*having))
        if 1 not in common:  # nothing to compare with, yet
            return []
        return [generation for generation in common if failure is None or generation < failure.generation]

    def _matrix(self, metric: str, generations: list[int]) -> np.ndarray:
        rows = [[replicate.metrics[t][metric] for t in generations] for replicate in self.replicates]
        return np.array(rows, np.float64).reshape(len(rows), len(generations))

    def _variances(self, stderr: str, generations: list[int]) -> np.ndarray | None:
        known = all(_finite(replicate.metrics[t].get(stderr)) for replicate in self.replicates for t in generations)
        return self._matrix(stderr, generations) ** 2 if known else None


def series_of_results(results: pd.DataFrame, payload: PayloadKind, diverged: Mapping[str, int] | None = None) -> Series:
    """The series of one arm from rows of `results.parquet`.

    Args:
        results: rows of the arm's lineages, with the columns `lineage, seed, generation, stage, metric, value`.
        payload: what its samples are.
        diverged: the lineages that diverged, and the generation in which each did.

    Raises:
        InvalidInput: two of the lineages have the same seed, so they are no replicates.
    """
    replicates = []
    for lineage, rows in results.groupby("lineage", sort=True):
        evaluated = rows[(rows["stage"] == "evaluate") & rows["metric"].notna()]
        metrics: dict[int, dict[str, float | None]] = {}
        for generation, metric, value in zip(
            evaluated["generation"], evaluated["metric"], evaluated["value"], strict=True
        ):
            metrics.setdefault(int(generation), {})[str(metric)] = None if pd.isna(value) else float(value)
        replicates.append(Replicate(int(rows["seed"].iloc[0]), metrics, (diverged or {}).get(str(lineage))))
    seeds = [replicate.seed for replicate in replicates]
    if len(set(seeds)) != len(seeds):
        raise InvalidInput(
            f"the lineages {', '.join(map(str, results['lineage'].unique()))} have the seeds {sorted(seeds)}; "
            "replicates of one arm differ in their seeds: give the rows of one arm"
        )
    return Series(payload, tuple(sorted(replicates, key=lambda replicate: replicate.seed)))


def _until(replicate: Replicate, generation: int) -> Replicate:
    metrics = {t: values for t, values in replicate.metrics.items() if t <= generation}
    ended = replicate.diverged is not None and replicate.diverged <= generation
    return Replicate(replicate.seed, metrics, replicate.diverged if ended else None)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
