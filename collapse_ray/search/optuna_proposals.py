"""Points from Optuna's samplers, through Ray Tune's searcher. A Ray seam."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from ray.tune.search.optuna import OptunaSearch

from collapse_ray.config.spec import Json
from collapse_ray.search.axes import Axis
from collapse_ray.search.events import State
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.methods import optuna as method
from collapse_ray.search.report import Report
from collapse_ray.search.spec import Sweep
from collapse_ray.search.trial import Trial


@dataclass
class _Point:
    """One suggestion: a lineage for each seed, of which the mean is told to Optuna once all have ended."""

    number: int
    values: dict[str, Json]
    seeds: list[int]
    running: set[str] = field(default_factory=set)
    latest: dict[str, float | None] = field(default_factory=dict)
    """By lineage."""


class ByOptuna:
    """Every seed of the sweep runs at each point that Optuna suggests."""

    frontiers: tuple[Frontier, ...] = ()

    def __init__(self, sweep: Sweep) -> None:
        assert isinstance(sweep.spec.search, method.Spec)
        self._spec, self._axes, self._seeds = sweep.spec.search, sweep.axes, sweep.spec.seeds
        space: dict[str, Any] = {path: _distribution(axis) for path, axis in sweep.axes.items()}
        self._searcher = OptunaSearch(
            space, metric=self._spec.metric, mode=self._spec.mode, sampler=_sampler(self._spec)
        )
        self._num_points = 0
        self._current: _Point | None = None
        self._points: dict[str, _Point] = {}

    @property
    def is_open(self) -> bool:
        return self._num_points < self._spec.num_points or bool(self._current and self._current.seeds)

    def propose(self, key: str) -> Trial | Literal["wait", "done"]:
        if not self.is_open:
            return "done"
        if self._current is None or not self._current.seeds:
            self._current = _Point(self._num_points, self._suggest(str(self._num_points)), list(self._seeds))
            self._num_points += 1
        self._points[key] = self._current
        self._current.running.add(key)
        return Trial(self._current.values, self._current.seeds.pop(0))

    def observe(self, key: str, report: Report) -> None:
        self._points[key].latest[key] = report.metrics.get(self._spec.metric)

    def end(self, key: str, state: State, verdicts: dict[str, str]) -> None:
        point = self._points[key]
        if key not in point.running:
            return
        point.running.remove(key)
        if state == "failed":
            point.latest.pop(key, None)
        if point.running or point.seeds:
            return
        values = list(point.latest.values())
        known = [value for value in values if value is not None]
        # A point where a lineage diverged has no value; one whose lineages failed is an error.
        result = {self._spec.metric: fmean(known)} if known and len(known) == len(values) else None
        self._searcher.on_trial_complete(str(point.number), result, error=not values)

    def _suggest(self, point: str) -> dict[str, Json]:
        suggested = self._searcher.suggest(point)
        assert isinstance(suggested, dict)
        return {path: _value(axis, suggested[path]) for path, axis in self._axes.items()}

    def state(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            self._searcher.save(f"{folder}/optuna")
            return self._num_points, self._current, self._points, Path(folder, "optuna").read_bytes()

    def restore(self, state: Any) -> None:
        self._num_points, self._current, self._points, searcher = state
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "optuna").write_bytes(searcher)
            self._searcher.restore(f"{folder}/optuna")


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.range is None:
        return CategoricalDistribution([json.dumps(choice, sort_keys=True) for choice in axis.choices])
    low, high, log, step = axis.range.low, axis.range.high, axis.range.log, axis.range.step
    if axis.whole:
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None or log else int(step))
    return FloatDistribution(low, high, log=log, step=None if log else step)


def _value(axis: Axis, suggested: Any) -> Json:
    return json.loads(suggested) if axis.range is None else axis.value(suggested)


def _sampler(spec: method.Spec) -> BaseSampler:
    samplers = {"tpe": TPESampler, "gp": GPSampler, "random": RandomSampler}
    return samplers[spec.sampler](seed=spec.seed)
