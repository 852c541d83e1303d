"""A spec file and `key.path=value` overrides, read and validated."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.explain import explain, place
from collapse_ray.config.spec import Spec
from collapse_ray.config.yaml12 import Loader, Refused

AnySpec = TypeVar("AnySpec", bound=Spec)

_OVERRIDE = re.compile(r"[\w-]+(\[\d+\])*(\.[\w-]+(\[\d+\])*)*")
_STEP = re.compile(r"[\w-]+|\[\d+\]")


def read_mapping(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The YAML file's mapping with each `key.path=value` set in turn; the last one of a key wins.

    A value is YAML, too: `seeds=[0, 1]`, `regime={kind: mix, real_fraction: 0.5}`. It replaces what
    was there as a whole. `metrics[2].k=5` goes into a list. Mappings on the way are made where absent.

    Raises:
        InvalidInput: no such file, not YAML, a key given twice, not a mapping, or an override that
            leads nowhere.
    """
    mapping = _parse(_content(path), str(path))
    if mapping is None:
        raise InvalidInput(f"{path} is empty; a spec is a mapping of keys to values")
    if not isinstance(mapping, dict):
        raise InvalidInput(f"{path} holds {_form(mapping)}; a spec is a mapping of keys to values, `key: value`")
    return overridden(mapping, overrides)


def overridden(mapping: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A mapping with each `key.path=value` set in turn, as `read_mapping` does it.

    Raises:
        InvalidInput: an override that leads nowhere.
    """
    for override in overrides:
        mapping = _override(mapping, override)
    return mapping


def validate(cls: type[AnySpec], mapping: Mapping[str, Any], where: str) -> AnySpec:
    """The spec that a mapping describes.

    Args:
        cls: the spec's class.
        mapping: keys and values as `read_mapping` gives them.
        where: names the mapping in the error, e.g. the file's path.

    Raises:
        InvalidInput: one line for each problem: path, what was given, what is allowed, what to do.
    """
    try:
        text = json.dumps(mapping, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{where}: {error}; values are null, true, false, finite numbers, text, lists and mappings"
        ) from error
    try:
        return cls.model_validate_json(text)
    except ValidationError as error:
        lines = explain(error, cls, json.loads(text))
        count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        raise InvalidInput("\n  ".join([f"{where}: {count}", *lines])) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise InvalidInput(f"{path} does not exist; neither does the folder {path.parent}") from error
        raise InvalidInput(f"{path} does not exist; {did_you_mean(path.name, _specs(path.parent))}") from error
    except IsADirectoryError as error:
        raise InvalidInput(f"{path} is a folder; give one file; {did_you_mean('', _specs(path))}") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}; give a readable YAML file") from error


def _specs(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.suffix in (".yaml", ".yml")]


def _parse(text: str | bytes, where: str) -> Any:
    try:
        return yaml.load(text, Loader)  # noqa: S506 - builds plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        todo = "" if isinstance(error, Refused) else "; give valid YAML"
        raise InvalidInput(f"{where}{at}: {error.problem or error.context}{todo}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{where} is not YAML: {' '.join(str(error).split())}; give a text file in UTF-8") from error


def _override(mapping: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not _OVERRIDE.fullmatch(key):
        raise InvalidInput(
            f"override {override!r}: needs the form key.path=value, e.g. train.epochs=3 or metrics[0].k=5"
        )
    if not text.strip():
        raise InvalidInput(f"override {override!r}: no value; write {key}=null for none, {key}='\"\"' for empty text")
    steps = [int(step[1:-1]) if step.startswith("[") else step for step in _STEP.findall(key)]
    return _set(mapping, steps, 0, _parse(text, f"override {override!r}"), override)


def _set(node: Any, steps: list[str | int], depth: int, value: Any, override: str) -> Any:
    """A copy of `node` in which the place `steps[depth:]` below it holds `value`.

    Copies, because a YAML alias makes two places share one mapping.
    """
    if depth == len(steps):
        return value
    step = steps[depth]
    if isinstance(step, int):
        if not isinstance(node, list) or step >= len(node):
            found = f"a list of {len(node)}" if isinstance(node, list) else _form(node)
            raise InvalidInput(
                f"override {override!r}: {place(steps[:depth])} is {found} and has no [{step}]; "
                f"give the whole list, {place(steps[:depth])}=[…]"
            )
        return [*node[:step], _set(node[step], steps, depth + 1, value, override), *node[step + 1 :]]
    if node is None:
        node = {}
    if not isinstance(node, dict):
        whole = f"{{kind: {node}, {step}: …}}" if isinstance(node, str) else f"{{{step}: …}}"
        raise InvalidInput(
            f"override {override!r}: {place(steps[:depth])} is {_form(node)}, not a mapping, and has no {step}; "
            f"give the whole, {place(steps[:depth])}={whole}"
        )
    return {**node, step: _set(node.get(step), steps, depth + 1, value, override)}


def _form(value: Any) -> str:
    return "a list" if isinstance(value, list) else json.dumps(value)
