"""YAML by the 1.2 core schema (yaml.org/spec/1.2.2, section 10.3), because PyYAML's 1.1 has traps.

There `1e-3` is text, `on`, `no` and `yes` are booleans, `1:30` is 90, `012` is 10 and `2024-01-01` is a
date. Here only what fits a form below is not text, and everything read is plain JSON.
"""

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_FORMS = {
    "null": r"(~|null|Null|NULL|)$",
    "bool": r"(true|True|TRUE|false|False|FALSE)$",
    "int": r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    "float": r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
    "merge": r"<<$",
}
"""What a plain scalar is taken for; the first form that fits counts."""


class Refused(yaml.constructor.ConstructorError):
    """Valid YAML that a spec may not hold; the message says what to do."""

    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class Loader(yaml.SafeLoader):
    """Builds mappings, lists, text, integers, finite floats, booleans and null; refuses the rest by line."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's registry, copied on write by its own functions
    yaml_constructors: dict = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class, but a key given twice or one that is not text is an error.

        Looks before merge keys are flattened: what `<<` brings may be given again.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == f"{_TAG}merge":
                continue
            if key.tag != f"{_TAG}str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else "list or mapping"
                raise Refused(f"the key '{shown}' is not text; put it in quotes", key)
            if key.value in seen:
                raise Refused(f"the key '{key.value}' is given twice; remove one", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def core_bool(self, node: yaml.ScalarNode) -> bool:
        """True or false only."""
        return self._fitting(node, "bool").lower() == "true"

    def core_int(self, node: yaml.ScalarNode) -> int:
        """Decimal even with leading zeros."""
        text = self._fitting(node, "int")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def core_float(self, node: yaml.ScalarNode) -> float:
        """Finite: JSON has no infinity, and 1e999 is as little a number as .inf."""
        text = self._fitting(node, "float")
        if text[-1] in "fFnN" or abs(value := float(text)) == float("inf"):
            raise Refused(f"{text} is not a finite number; leave the key out or write null", node)
        return value

    def refuse(self, node: yaml.Node) -> Any:
        """Any tag that has no JSON form, such as !!timestamp, !!binary, !!set or !!python/tuple."""
        raise Refused(f"the tag {node.tag.replace(_TAG, '!!')} is not known; write a plain value", node)

    def _fitting(self, node: yaml.ScalarNode, name: str) -> str:
        """The scalar's text; an explicit tag, `!!int x`, may stand before what does not fit."""
        if not re.match(_FORMS[name], node.value):
            raise Refused(f"'{node.value}' is not of the form !!{name}; remove the tag", node)
        return node.value


for _name, _form in _FORMS.items():
    Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(_form), None)
for _name in ("null", "str", "seq", "map"):
    Loader.add_constructor(f"{_TAG}{_name}", getattr(yaml.SafeLoader, f"construct_yaml_{_name}"))
for _name in ("bool", "int", "float"):
    Loader.add_constructor(f"{_TAG}{_name}", getattr(Loader, f"core_{_name}"))
Loader.yaml_constructors[None] = Loader.refuse  # None stands for every other tag
