"""The kinds that a spec may name, with what each takes."""

import inspect
import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from rich import box
from rich.table import Table
from rich.text import Text

from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Spec
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.model.family import FamilySpec
from collapse_ray.search.method import SearchSpec
from collapse_ray.search.scheduler import SchedulerSpec

ROOTS: dict[str, type[Plugin]] = {
    "families": FamilySpec,
    "sources": SourceSpec,
    "metrics": MetricSpec,
    "regimes": RegimeSpec,
    "searches": SearchSpec,
    "schedulers": SchedulerSpec,
}

_NAMES: dict[Any, str] = {
    int: "integer",
    float: "number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    dict: "mapping",
}


def kinds_table(what: str) -> Table:
    """All kinds of one root, a key of `ROOTS`: what each is, and its fields with type, default and meaning."""
    root = ROOTS[what]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("kind / field", no_wrap=True)
    table.add_column("type", overflow="fold", max_width=26)
    table.add_column("default", overflow="fold", max_width=14)
    table.add_column("meaning", overflow="fold")
    for kind in root.kinds():
        spec = root.of_kind(kind)
        table.add_row(Text(kind, style="bold"), "", "", Text(_summary(spec), style="bold"))
        for path, field in _fields(spec):
            table.add_row(Text(f"  {path}"), Text(type_words(field)), Text(_default(field)), Text(_meaning(field)))
        table.add_section()
    return table


def type_words(field: FieldInfo) -> str:
    """The values that a field takes, e.g. `integer ≥ 1 or null`."""
    return _words(field.annotation, tuple(field.metadata))


def _fields(spec: type[Spec], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Fields by dotted path, those of a nested spec after the field that holds it."""
    for name, field in spec.model_fields.items():
        yield f"{prefix}{name}", field
        for nested in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(nested) and issubclass(nested, Spec) and not issubclass(nested, Plugin):
                yield from _fields(nested, f"{prefix}{name}.")


def _words(annotation: Any, constraints: tuple[Any, ...] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], (*arguments[1:], *constraints))
    if origin in (Union, types.UnionType):
        return " or ".join(_words(branch, () if branch is type(None) else constraints) for branch in arguments)
    if origin is Literal:
        return " or ".join(str(choice) for choice in arguments)
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if inspect.isclass(annotation) and issubclass(annotation, Plugin):
        return "kind"
    if inspect.isclass(annotation) and issubclass(annotation, Spec):
        return "mapping"
    return " ".join([_NAMES[origin or annotation], *_bounds(constraints)])


def _bounds(constraints: tuple[Any, ...]) -> list[str]:
    parts = []
    for constraint in constraints:
        match constraint:
            case Ge(ge=bound):
                parts.append(f"≥ {bound}")
            case Gt(gt=bound):
                parts.append(f"> {bound}")
            case Le(le=bound):
                parts.append(f"≤ {bound}")
            case Lt(lt=bound):
                parts.append(f"< {bound}")
    return [" and ".join(parts)] if parts else []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    default = field.get_default(call_default_factory=True)
    text = json.dumps(default.identity() if isinstance(default, Spec) else default)
    return text.strip('"') or text


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _summary(spec: type[Plugin]) -> str:
    """The first line of the class's docstring."""
    return (inspect.getdoc(spec) or "").partition("\n")[0]
