"""What pydantic found wrong with a mapping, in the words of someone who writes YAML."""

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from collapse_ray.config.errors import did_you_mean
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Spec

_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}

_ALLOWED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
}

Steps = tuple[str | int, ...]


def explain(error: ValidationError, cls: type[Spec], mapping: Mapping[str, Any]) -> list[str]:
    """One line for each place of `mapping` that `cls` refuses: path; what was given; what is allowed; what to do."""
    problems: dict[Steps, list[ErrorDetails]] = {}
    for problem in error.errors(include_url=False):
        problems.setdefault(_steps(problem, mapping), []).append(problem)
    return [_line(steps, found, cls, mapping) for steps, found in problems.items()]


def place(steps: Sequence[str | int]) -> str:
    """A path as an override writes it, e.g. `evaluate.metrics[2].tail_mass`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _line(steps: Steps, problems: list[ErrorDetails], cls: type[Spec], mapping: Mapping[str, Any]) -> str:
    first = problems[0]
    path = place(steps) or "as a whole"
    if first["type"] in ("missing", "extra_forbidden"):
        owner = _owner(cls, mapping, steps[:-1])
        say = _missing if first["type"] == "missing" else _unknown
        return f"{path}: {say(steps, owner, _at(mapping, steps[:-1]))}"
    if first["type"] == "value_error":
        return f"{path}: {first.get('ctx', {}).get('error', first['msg'])}"
    if first["type"] == "unknown_kind":
        return f"{path}: {first['msg']}"
    given = _given(_at(mapping, steps))
    if first["type"] not in _ALLOWED:
        return f"{path}: given {given}; {first['msg']}"
    # A union gives one problem for each of its branches.
    allowed = " or ".join(dict.fromkeys(_allowed(problem) for problem in problems))
    return f"{path}: given {given}; allowed: {allowed}; correct it or give {path}=…"


def _missing(steps: Steps, owner: type[Spec], given: Any) -> str:
    *above, name = steps
    field = owner.model_fields.get(str(name))
    if field is None:  # one of several specs in a union
        return f"missing; give {place(steps)}=…"
    meaning = f" ({' '.join(field.description.split())})" if field.description else ""
    kind = _kind(given)
    todo = f"give {place(steps)}=…"
    if kind is not None:
        todo = f"add it, or replace the whole: {place(above)}={{kind: {kind}, {name}: …}}"
    needs = f"kind '{kind}' needs" if kind is not None else "needs"
    return f"missing; {needs} {_type_name(field)}{meaning}; {todo}"


def _unknown(steps: Steps, owner: type[Spec], given: Any) -> str:
    *above, name = steps
    kind = _kind(given)
    if kind is None:
        return f"unknown key; {did_you_mean(str(name), owner.model_fields)}; rename or remove it"
    return (
        f"kind '{kind}' has no such key; {did_you_mean(str(name), owner.model_fields)}; "
        f"rename or remove it, or replace the whole: {place(above)}={{kind: {kind}, …}}"
    )


def _allowed(problem: ErrorDetails) -> str:
    return _ALLOWED.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return f"{text[:60]}… (text)" if len(text) > 60 else f"{text} (text)" if isinstance(value, str) else text


def _kind(given: Any) -> str | None:
    """The kind that a plugin was given, `{kind: NAME, ...}` or `NAME`."""
    return given.get("kind") if isinstance(given, dict) else given if isinstance(given, str) else None


# Where in the mapping, and whose field ---------------------------------------------------------


def _steps(problem: ErrorDetails, value: Any) -> Steps:
    """The location without the names of union branches that pydantic puts into it."""
    steps: list[str | int] = []
    last = len(problem["loc"]) - 1
    for index, step in enumerate(problem["loc"]):
        if index == last and problem["type"] == "missing":
            steps.append(step)
        elif _holds(value, step):
            steps.append(step)
            value = value[step]
    return tuple(steps)


def _holds(value: Any, step: str | int) -> bool:
    return step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)


def _at(value: Any, steps: Steps) -> Any:
    for step in steps:
        value = value[step]
    return value


def _owner(cls: type[Spec], value: Any, steps: Steps) -> type[Spec]:
    """The class of the spec at `steps`: annotations followed down from `cls`, a plugin's by its kind."""
    owner: type[Spec] = cls
    annotation: Any = cls
    for step in steps:
        if isinstance(step, str) and step in owner.model_fields:
            annotation = owner.model_fields[step].annotation
        value = value[step]
        owner = next((_actual(spec, value) for spec in _specs(annotation)), owner)
    return owner


def _actual(spec: type[Spec], value: Any) -> type[Spec]:
    kind = _kind(value)
    return spec.of_kind(kind) if issubclass(spec, Plugin) and "folder" in vars(spec) and kind is not None else spec


def _specs(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for argument in get_args(annotation):
        yield from _specs(argument)


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    branches = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return " or ".join(_branch_name(branch) for branch in branches)


def _branch_name(branch: Any) -> str:
    if get_origin(branch) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(branch))
    if isinstance(branch, type) and issubclass(branch, Plugin):
        return f"a kind ({', '.join(branch.kinds())})"
    return _NAMES.get(get_origin(branch) or branch, "a mapping")
