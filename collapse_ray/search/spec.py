"""A sweep: one base lineage, the axes along which others differ from it, and how they are searched."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import Any

from pydantic import Field

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import overridden, read_mapping, validate
from collapse_ray.config.spec import Json, Spec
from collapse_ray.lineage.index import lineage_id
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.search.axes import Axis, Range, axes_of
from collapse_ray.search.base import compose, refuse_misplaced, refuse_overruled, with_base_file
from collapse_ray.search.budget import SweepBudget
from collapse_ray.search.callbacks import CallbacksSpec
from collapse_ray.search.method import Asked, SearchSpec
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.scheduler import SchedulerSpec
from collapse_ray.search.stop import StopRule
from collapse_ray.search.trial import Point, Trial, flat, point_label, value_label
from collapse_ray.train.execution import RunConfig

MAX_PROBES = 256
"""Combinations of choices and ends of ranges that are tried before a sweep starts, where its points are not known."""

MAX_SLUG = 60
"""Characters of a point in a file name; a longer one is cut, and told apart by digits of its fingerprint."""


class SweepSpec(Spec):
    """The keys of a sweep file."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Of the sweep, and the first part of its lineages' names; the file's name when absent."""
    base: dict[str, Any]
    """The lineage that the axes change: its keys, or the path of a spec file, relative to the sweep's. The file's
    depth, seeds and run settings count where the sweep gives none."""
    axes: dict[str, tuple[Any, ...] | Range] = Field(default={})
    """Path of a field of the lineage -> a list of values, or a range `{low: …, high: …}`."""
    depth: int = Field(gt=0)
    """Generations of every lineage that nothing ends before."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Replicates: one lineage for each, at every point."""
    profile: ProfileSpec = ProfileSpec()
    """The definitions of collapse."""
    stop: StopRule | None = None
    """When verdicts end a lineage; null follows each to its depth."""
    search: SearchSpec = SearchSpec.resolve("grid")
    """How points are chosen."""
    scheduler: SchedulerSpec = SchedulerSpec.resolve("none")
    """Whether lineages are ended because others are better."""
    budget: SweepBudget = SweepBudget()
    """What the sweep may spend."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Lineages that run at the same time; null: as many as the cluster holds."""
    run: RunConfig = RunConfig()
    """How each lineage is executed."""
    callbacks: CallbacksSpec = CallbacksSpec()
    """Where else to report."""


@dataclass(frozen=True)
class Sweep:
    """A sweep that was checked as far as its file tells; `check_sweep` asks the real data, too."""

    spec: SweepSpec
    axes: Mapping[str, Axis]
    where: str
    """The file, for messages."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def run(self) -> RunConfig:
        return self.spec.run

    @cached_property
    def id(self) -> str:
        """What results and the ledger call the sweep."""
        return lineage_id(self.name, self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides which lineages run and when they end; not of how they are executed."""
        lineages = [self.lineage(point, self.spec.seeds[0]).identity() for point in self.probes]
        ranges = {path: axis.range.identity() for path, axis in self.axes.items() if axis.range is not None}
        spec = self.spec.identity()
        kept = ("depth", "seeds", "profile", "stop", "search", "scheduler", "budget")
        return fingerprint({"lineages": lineages, "ranges": ranges, **{name: spec[name] for name in kept}})

    def lineage(self, point: Point, seed: int) -> LineageSpec:
        """The lineage at a point.

        Raises:
            InvalidInput: the lineage refuses a value; says at which point.
        """
        mapping = {**compose(self.spec.base, point), "depth": self.spec.depth, "seed": seed}
        label = point_label(point)
        return validate(LineageSpec, mapping, f"{self.where}, lineage {label}" if label else f"{self.where}, base")

    def points(self) -> list[dict[str, Json]]:
        """All points, where the method knows them beforehand.

        Raises:
            InvalidInput: results decide on the next point.
        """
        points = self.spec.search.points(self.axes)
        if points is None:
            raise InvalidInput(f"{self.where}: the search {self.spec.search.kind} chooses points as it goes")
        return points

    def trials(self) -> list[Trial]:
        """A lineage for every point and seed; the seeds of a point follow each other."""
        return [Trial(point, seed) for point in self.points() for seed in self.spec.seeds]

    def arm_label(self, point: Point) -> str:
        """A point as a person reads it; the sweep's name where there is no axis."""
        return point_label(point) or self.name

    def lineage_name(self, point: Point) -> str:
        """Name of the lineages of an arm, for their index files and for reports: the sweep's, and the point's."""
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(map(value_label, flat(point).values()))).strip("-")
        if len(slug) > MAX_SLUG:
            slug = f"{slug[:MAX_SLUG]}-{fingerprint(dict(point))[:8]}"
        return f"{self.name}-{slug}" if slug else self.name

    @cached_property
    def asked(self) -> Asked:
        """What method and scheduler are asked."""
        spec = self.spec
        metrics = [self.lineage(point, spec.seeds[0]).evaluate.metrics for point in self.probes]
        evaluated = [{name for metric in each for name in metric.names} for each in metrics]
        common = frozenset(set.intersection(*evaluated))
        return Asked(self.axes, spec.depth, spec.seeds, spec.profile, spec.budget, common)

    @cached_property
    def data_cpus(self) -> int:
        """CPUs that Ray Data needs: none where closed forms alone are fitted, which are read without it."""
        trains = any(self.lineage(point, self.spec.seeds[0]).train for point in self.probes)
        return self.run.data_cpus if self.run.workers or trains else 0

    @cached_property
    def probes(self) -> list[dict[str, Json]]:
        """Points at which everything is tried before anything starts.

        All points, where they are known; else the corners of the space, as many as there may be of them.
        """
        points = self.spec.search.points(self.axes)
        return list(islice(self._corners(), MAX_PROBES)) if points is None else points

    def _corners(self) -> Iterator[dict[str, Json]]:
        for values in product(*(axis.corners for axis in self.axes.values())):
            yield dict(zip(self.axes, values, strict=True))


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep file with `key=value` overrides, and checks all that can be known without the real data.

    Raises:
        InvalidInput: what was given, what is allowed, what to do.
    """
    # A base that is a file is read before the other overrides, so that these reach into it.
    first = [override for override in overrides if override.startswith("base=")]
    given = read_mapping(path, first)
    mapping = overridden(with_base_file(given, path), [other for other in overrides if other not in first])
    spec = validate(SweepSpec, {**mapping, "name": mapping.get("name") or path.stem}, str(path))
    try:
        if not isinstance(given.get("base"), str):
            refuse_overruled(spec.base, spec.axes)
        return _checked(spec, str(path))
    except InvalidInput as error:
        raise InvalidInput(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def _checked(spec: SweepSpec, where: str) -> Sweep:
    refuse_misplaced(spec.base)
    if len(set(spec.seeds)) < len(spec.seeds):
        raise InvalidInput(f"seeds={list(spec.seeds)} repeats a seed; replicates must differ")
    sweep = Sweep(spec, axes_of(spec.axes, spec.base), where)
    _refuse_equal_lineages(sweep)
    spec.search.check(sweep.asked)
    spec.scheduler.check(sweep.asked)
    if spec.search.kind == "frontier" and spec.scheduler.kind != "none":
        raise InvalidInput(
            f"scheduler {spec.scheduler.kind}: the search frontier says itself when a lineage has told enough; "
            "remove scheduler, or choose another search"
        )
    spec.budget.check(spec.depth, spec.run)
    spec.run.check_store()
    return sweep


def _refuse_equal_lineages(sweep: Sweep) -> None:
    seen: dict[str, Point] = {}
    for point in sweep.probes:
        of = fingerprint(sweep.lineage(point, sweep.spec.seeds[0]).identity())
        if of in seen:
            raise InvalidInput(
                f"axes: the points {sweep.arm_label(seen[of])} and {sweep.arm_label(point)} are the same lineage; "
                "remove one"
            )
        seen[of] = point
