"""The axes of a sweep: fields of a lineage, by path, and the values that they take."""

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, Union, get_args, get_origin

from pydantic import Field, model_validator

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Json, Spec
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.search.trial import value_label

_PATH = re.compile(r"[a-z_]\w*(\[\d+\])*(\.[a-z_]\w*(\[\d+\])*)*")
_STEP = re.compile(r"\w+|\[\d+\]")

OF_THE_SWEEP = {
    "depth": "one lineage measures every depth below its own; give the sweep's depth",
    "seed": "replicates are not an axis; give the sweep's seeds",
    "seeds": "replicates are not an axis; give the sweep's seeds",
    "run": "how lineages are executed changes none of their numbers; give the sweep's run",
}
"""What a user may take for an axis, and what to do instead."""


class Range(Spec):
    """All values between two; whole numbers where the field takes these alone."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Even in the logarithm, for what acts by factors."""
    step: float | None = Field(default=None, gt=0)
    """Multiples of it only, such as 1 / num_samples where a finer fraction makes the same pool."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}; give low < high")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low} has no logarithm; give low > 0, or log: false")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step={self.step} exceeds the range of {self.high - self.low}; give a smaller step")
        return self


@dataclass(frozen=True)
class Axis:
    """One field and its values: `choices`, or a `range` of numbers."""

    path: str
    choices: tuple[Json, ...] = ()
    range: Range | None = None
    whole: bool = False
    """Whether a value of the range must be a whole number."""

    def value(self, number: float) -> Json:
        """A number of the range as the field takes it."""
        return round(number) if self.whole else number

    @property
    def corners(self) -> tuple[Json, ...]:
        """The choices, or both ends of the range: where a lineage is tried before anything starts."""
        return (self.value(self.range.low), self.value(self.range.high)) if self.range else self.choices


def axes_of(given: Mapping[str, tuple[Any, ...] | Range], base: Mapping[str, Any]) -> dict[str, Axis]:
    """The axes of a sweep, in the order in which they were given.

    Args:
        given: path -> choices or range.
        base: the keys of the lineage that the axes change.

    Raises:
        InvalidInput: an axis that is no field of the lineage, is empty, names a value twice, or contradicts another.
    """
    axes = {}
    for path, values in given.items():
        annotation = _annotation(path, given, base)
        if isinstance(values, Range):
            axes[path] = Axis(path, range=values, whole=_is_whole(path, annotation, values))
        else:
            axes[path] = Axis(path, choices=_distinct(path, values))
    _refuse_contradictions(axes)
    return axes


def _distinct(path: str, values: tuple[Any, ...]) -> tuple[Json, ...]:
    if not values:
        raise InvalidInput(f"axes.{path}: has no values; give at least one, or leave the axis out")
    seen = []
    for value in values:
        if (isinstance(value, bool), value) in seen:  # 1 and 1.0 are one value, 1 and true are not
            raise InvalidInput(f"axes.{path}: {value_label(value)} is given twice; keep one")
        seen.append((isinstance(value, bool), value))
    return values


def _refuse_contradictions(axes: Mapping[str, Axis]) -> None:
    for path in axes:
        for other in axes.values():
            if not path.startswith(f"{other.path}."):
                continue
            rest = path.removeprefix(f"{other.path}.")
            for value in other.choices:
                if isinstance(value, dict) and rest.partition(".")[0] in value:
                    label = value_label(value)
                    raise InvalidInput(
                        f"axes.{path}: the axis {other.path} sets it, too, in {label}; remove one of them"
                    )


def steps_of(path: str) -> list[str]:
    """`evaluate.metrics[0].k` -> `evaluate`, `metrics`, `[0]`, `k`."""
    return _STEP.findall(path)


# Which field a path leads to -----------------------------------------------------------------------


def _annotation(path: str, given: Mapping[str, Any], base: Mapping[str, Any]) -> Any:
    """The type of the field at a path; None where only a lineage itself can tell."""
    if path.partition(".")[0] in OF_THE_SWEEP:
        raise InvalidInput(f"axes.{path}: {OF_THE_SWEEP[path.partition('.')[0]]}")
    if not _PATH.fullmatch(path):
        raise InvalidInput(f"axes.{path}: not a path; write the field of a lineage, e.g. regime.real_fraction")
    owners: list[type[Spec]] = [LineageSpec]
    annotation: Any = LineageSpec
    walked = ""
    for step in steps_of(path):
        walked = f"{walked}{step}" if step.startswith("[") else f"{walked}.{step}".removeprefix(".")
        if not step.startswith("["):
            annotation = _field(path, step, owners)
        if walked == path:
            return annotation
        specs = list(_specs(annotation))
        if not specs:
            _refuse_below(path, walked, annotation)
            return None
        owners = [actual for spec in specs for actual in _actual(spec, _values_at(walked, given, base))]
        if not owners:
            return None
    return annotation


def _field(path: str, step: str, owners: list[type[Spec]]) -> Any:
    found = [owner.model_fields[step].annotation for owner in owners if step in owner.model_fields]
    if not found:
        names = [name for owner in owners for name in owner.model_fields if name not in OF_THE_SWEEP]
        what = " or ".join(sorted({_name(owner) for owner in owners}))
        raise InvalidInput(f"axes.{path}: {what} has no {step!r}; {did_you_mean(step, dict.fromkeys(names))}")
    return found[0]


def _name(owner: type[Spec]) -> str:
    if issubclass(owner, Plugin):
        return f"the kind {owner.__module__.rpartition('.')[2]!r}"
    return {"LineageSpec": "a lineage"}.get(owner.__name__, owner.__name__)


def _refuse_below(path: str, walked: str, annotation: Any) -> None:
    """What is below a mapping or a list only the lineage can check; below a plain value there is nothing."""
    if any(branch in (int, float, bool, str) for branch in _branches(annotation)):
        raise InvalidInput(f"axes.{path}: {walked} is a plain value and has nothing below it; end the path there")


def _values_at(path: str, given: Mapping[str, Any], base: Mapping[str, Any]) -> list[Any]:
    """What the field at a path may be: the choices of its axis, else what the base says."""
    if isinstance(given.get(path), tuple):
        return list(given[path])
    value: Any = base
    for step in steps_of(path):
        if step.startswith("["):
            index = int(step[1:-1])
            value = value[index] if isinstance(value, list) and index < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return [] if value is None else [value]


def _actual(spec: type[Spec], values: list[Any]) -> Iterator[type[Spec]]:
    """The class that a spec has; of a plugin, those of all kinds that it may be of."""
    if not (issubclass(spec, Plugin) and "folder" in vars(spec)):
        yield spec
        return
    kinds = [value.get("kind") if isinstance(value, dict) else value for value in values]
    yield from (spec.of_kind(kind) for kind in spec.kinds() if kind in kinds)


def _specs(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for argument in get_args(annotation):
        yield from _specs(argument)


def _branches(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_whole(path: str, annotation: Any, values: Range) -> bool:
    numbers = {branch for branch in _branches(annotation) if branch in (int, float)}
    if annotation is not None and not numbers:
        raise InvalidInput(f"axes.{path}: takes no numbers, so it has no range; give a list of values")
    if numbers != {int}:
        return False
    for name in ("low", "high", "step"):
        number = getattr(values, name)
        if number is not None and not number.is_integer():
            raise InvalidInput(f"axes.{path}.{name}: given {number}; the field takes whole numbers only; give one")
    return True
