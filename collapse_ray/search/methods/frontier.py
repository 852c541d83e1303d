"""The smallest real fraction that survives, found with as few generations as possible."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.load import validate
from collapse_ray.config.payload import PayloadKind
from collapse_ray.config.spec import Json
from collapse_ray.search.axes import Axis
from collapse_ray.search.frontier.problem import Category, FrontierSpec
from collapse_ray.search.method import Asked, SearchSpec
from collapse_ray.search.trial import value_label
from collapse_ray.search.verdict import Signal, VerdictSpec


@dataclass(frozen=True)
class Response:
    """What the search follows of a lineage: how much worse a generation is than generation 1."""

    signal: Signal

    def of(self, first: Mapping[str, float | None], latest: Mapping[str, float | None]) -> float | None:
        """The worsening, as verdicts measure it, from the metrics of generation 1 and of the latest one.

        None where generation 1 has no value, and infinite where the latest one lost it: that is collapse. A lineage
        that diverged has no metrics, and is as bad.
        """
        before, after = first.get(self.signal.metric), latest.get(self.signal.metric)
        if before is None:
            return None
        if after is None or not math.isfinite(after):
            return math.inf
        worse, better = self.signal.badness(np.array([after, before]))
        return float(worse - better)


class Spec(SearchSpec):
    """For each combination of the listed axes, the smallest value of one range that survives to the depth.

    A lineage survives whose verdict's metric is not worse than its threshold at the depth, compared with generation 1.
    Lists are arms with a frontier of their own, further ranges are dimensions of it. Each lineage has its own seed.
    """

    axis: str
    """Path of the range on which the frontier lies, such as `regime.real_fraction`; more of it is healthier."""
    precision: float = Field(gt=0)
    """Asked width of the interval, in units of the axis."""
    verdict: str = "catastrophic_risk"
    """The definition of collapse: one of the profile's, with its metric and its thresholds."""
    at: Literal["collapsing", "collapsed"] = "collapsed"
    """Which limit counts: the tolerance, or the threshold."""
    survival: float = Field(default=0.5, gt=0, lt=1)
    """Share of lineages that must survive."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the interval."""
    report_at: dict[str, tuple[float, ...]] = Field(default={})
    """Further ranges, by path: where the frontier is asked; at both ends where absent."""

    def check(self, asked: Asked) -> None:
        self._check_axes(asked.axes)
        if len(asked.seeds) > 1:
            raise InvalidInput(
                f"seeds={list(asked.seeds)}: the search frontier gives each lineage a seed of its own, counted from "
                "the first; give one seed, or leave seeds out"
            )
        verdict = self._verdict(asked)
        if type(verdict).criteria is not VerdictSpec.criteria:
            raise InvalidInput(
                f"search.verdict: {self.verdict} is not decided by the change since generation 1 alone, which the "
                "search follows; name another one of the profile's verdicts"
            )
        signals = [signal for signal in (verdict.image, verdict.tokens, verdict.vector) if signal is not None]
        if not any(signal.metric in asked.evaluated for signal in signals):
            asked.require_metric(f"search.verdict={self.verdict}", signals[0].metric)
        self._problem(asked, threshold=0.0)

    def _check_axes(self, axes: Mapping[str, Axis]) -> None:
        ranges = [path for path, axis in axes.items() if axis.range is not None]
        if self.axis in axes and self.axis not in ranges:
            raise InvalidInput(
                f"search.axis: {self.axis} is a list of values, and the frontier is searched between two; "
                f"give a range: axes={{{self.axis}: {{low: …, high: …}}}}"
            )
        for field, path in (("search.axis", self.axis), *(("search.report_at", path) for path in self.report_at)):
            if path not in ranges:
                what = did_you_mean(path, ranges) if ranges else "no axis is one: give {low: …, high: …}"
                raise InvalidInput(f"{field}: {path!r} is no range among the axes; {what}")
        if self.axis in self.report_at:
            raise InvalidInput(f"search.report_at: {self.axis} is where the frontier is looked for; remove it")

    def _verdict(self, asked: Asked) -> VerdictSpec:
        by_kind = {verdict.kind: verdict for verdict in asked.profile.verdicts}
        if self.verdict not in by_kind:
            hint = did_you_mean(self.verdict, by_kind)
            raise InvalidInput(f"search.verdict: {self.verdict!r} is no verdict of the profile; {hint}")
        return by_kind[self.verdict]

    def response(self, asked: Asked, payload: PayloadKind) -> Response:
        """What to report of each generation to the search.

        Raises:
            InvalidInput: the verdict has no metric for the payload, or the lineages do not evaluate it.
        """
        signal = self._verdict(asked).signal(payload)
        if signal is None:
            raise InvalidInput(
                f"search.verdict: {self.verdict} has no metric for {payload}; "
                f"{did_you_mean('', asked.profile.measurable(payload))}"
            )
        asked.require_metric(f"search.verdict={self.verdict}", signal.metric)
        return Response(signal)

    def problem(self, asked: Asked, payload: PayloadKind) -> FrontierSpec:
        """The question as `FrontierSearch` takes it; its responses are those of `response`."""
        tolerance, threshold = self.response(asked, payload).signal.limits
        return self._problem(asked, tolerance if self.at == "collapsing" else threshold)

    def _problem(self, asked: Asked, threshold: float) -> FrontierSpec:
        numeric = {path: self._numeric(axis) for path, axis in asked.axes.items() if axis.range is not None}
        budget = asked.budget
        mapping: dict[str, Any] = {
            "fraction": numeric.pop(self.axis),
            "others": list(numeric.values()),
            "categories": {
                path: [_category(value) for value in axis.choices]
                for path, axis in asked.axes.items()
                if axis.range is None
            },
            "depth": asked.depth,
            "threshold": threshold,
            "healthy": "below",
            "survival": self.survival,
            "precision": self.precision,
            "confidence": self.confidence,
            "budget": {"trials": budget.trials, "generations": budget.generations, "cost": budget.joules},
            "seed": asked.seeds[0],
        }
        return validate(FrontierSpec, mapping, "search frontier")

    def _numeric(self, axis: Axis) -> dict[str, Any]:
        assert axis.range is not None
        report_at = self.report_at.get(axis.path)
        return {
            "path": axis.path,
            "low": axis.range.low,
            "high": axis.range.high,
            "scale": "log" if axis.range.log else "linear",
            "step": axis.range.step or (1.0 if axis.whole else None),
            "report_at": None if report_at is None else list(report_at),
        }

    def point(self, axes: Mapping[str, Axis], values: Mapping[str, Category]) -> dict[str, Json]:
        """The point that a proposal of `FrontierSearch` means, or an arm: the part of it that `values` has."""
        return {path: _chosen(axis, values[path]) for path, axis in axes.items() if path in values}


def _category(value: Json) -> Category:
    """A choice as the search knows it: mappings and lists by their label."""
    return value if isinstance(value, str | int | float | bool) else value_label(value)


def _chosen(axis: Axis, value: Category) -> Json:
    if axis.range is None:
        return next(choice for choice in axis.choices if _category(choice) == value)
    assert not isinstance(value, str)
    return axis.value(value)
