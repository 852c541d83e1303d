"""One lineage of a sweep, before it runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from collapse_ray.config.spec import Json

Point: TypeAlias = Mapping[str, Json]
"""A value for every axis, by path."""

KINDS = ("source", "family", "regime")
"""Fields of a lineage that a kind names."""


@dataclass(frozen=True)
class Trial:
    """A point and a seed: one lineage."""

    point: Point
    seed: int

    @property
    def key(self) -> str:
        """Text that equals for equal trials, since a mapping cannot be a key."""
        return json.dumps([dict(self.point), self.seed], sort_keys=True)


def point_label(point: Point) -> str:
    """A point as a person reads it: `mix real_fraction=0.5`.

    A kind stands by itself; other fields have the last part of their path for a name, as long as no other ends alike.
    """
    plain = flat(point)
    ends = [path.rpartition(".")[2] for path in plain]
    names = [path if ends.count(end) > 1 else end for path, end in zip(plain, ends, strict=True)]
    return " ".join(
        value_label(value) if path in KINDS else f"{name}={value_label(value)}"
        for (path, value), name in zip(plain.items(), names, strict=True)
    )


def value_label(value: Json) -> str:
    """A value in one word: a mapping of a kind as `mix(real_fraction=0.5)`, text bare, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        fields = ",".join(f"{key}={value_label(item)}" for key, item in value.items() if key != "kind")
        return f"{value['kind']}({fields})" if fields else str(value["kind"])
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def flat(point: Mapping[str, Json]) -> dict[str, Json]:
    """A point in plain values: what is a mapping is spread over its fields, a kind stands for the whole.

    `{regime: {kind: mix, real_fraction: 0.5}}` -> `{regime: mix, regime.real_fraction: 0.5}`, as if each were an axis.
    """
    plain: dict[str, Json] = {}
    for path, value in point.items():
        plain |= _spread(path, value)
    return plain


def _spread(path: str, value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        return {path: value}
    plain: dict[str, Json] = {path: value["kind"]} if "kind" in value else {}
    for key, item in value.items():
        if key != "kind":
            plain |= _spread(f"{path}.{key}", item)
    return plain
