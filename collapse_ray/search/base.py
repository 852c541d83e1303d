"""The base lineage of a sweep, and a point put into it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import overridden, read_mapping
from collapse_ray.config.spec import Json
from collapse_ray.search.axes import steps_of
from collapse_ray.search.trial import value_label

BESIDE = ("name", "depth", "seed", "seeds", "run")
"""Keys of a spec file that are the sweep's, not its base's."""


def with_base_file(mapping: dict[str, Any], path: Path) -> dict[str, Any]:
    """The sweep's mapping with the keys of its base in the place of the base's file.

    Depth, seeds and run settings of the file count where the sweep gives none. A base that is no file stays.

    Raises:
        InvalidInput: the file is missing, or is no mapping.
    """
    if not isinstance(mapping.get("base"), str):
        return mapping
    file = read_mapping(path.parent / mapping["base"], [])
    taken = {key: file[key] for key in ("depth", "seeds", "run") if key in file}
    if "seed" in file and "seeds" not in taken:
        taken["seeds"] = [file["seed"]]
    return {**taken, **mapping, "base": {key: value for key, value in file.items() if key not in BESIDE}}


def refuse_misplaced(base: Mapping[str, Any]) -> None:
    """Refuses keys in a base that belong to the sweep.

    Raises:
        InvalidInput: the key, and where it goes.
    """
    for key in BESIDE:
        if key in base:
            up = "seeds" if key == "seed" else key
            raise InvalidInput(f"base.{key}: belongs to the sweep, not to its base; remove it, or move it up: {up}=…")


def refuse_overruled(base: Mapping[str, Any], paths: Iterable[str]) -> None:
    """Refuses a value of the base that no lineage would ever have, because an axis sets it.

    Raises:
        InvalidInput: the path and the base's value.
    """
    for path in paths:
        value: Any = base
        for step in steps_of(path):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            raise InvalidInput(
                f"base.{path}: is {value_label(value)}, and an axis sets the same field; remove one of the two"
            )


def compose(base: Mapping[str, Any], point: Mapping[str, Json]) -> dict[str, Any]:
    """The keys of the lineage at a point; what holds another axis is set before it."""
    mapping = dict(base)
    for path in sorted(point, key=lambda path: len(steps_of(path))):
        mapping = _with_kinds(mapping, steps_of(path)[:-1])
        # JSON is YAML, which an override is made of.
        mapping = overridden(mapping, [f"{path}={json.dumps(point[path], ensure_ascii=False)}"])
    return mapping


def _with_kinds(value: Any, steps: list[str]) -> Any:
    """A copy in which a bare kind on the way is a mapping, into which something can be put: `mix` -> `{kind: mix}`."""
    if isinstance(value, str):
        value = {"kind": value}
    if not steps or not isinstance(value, dict | list):
        return value
    step, *below = steps
    if isinstance(value, list):
        return [_with_kinds(item, below) if step == f"[{index}]" else item for index, item in enumerate(value)]
    return {key: _with_kinds(item, below) if key == step else item for key, item in value.items()}
