"""A fingerprint changes with every leaf, and with nothing else."""

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collapse_ray.artifact.fingerprint import drift, fingerprint

# The first 32 digits of what `printf '<canonical JSON>' | sha256sum` prints.
GOLDEN: list[tuple[Any, str]] = [
    ({"a": 1}, "015abd7f5cc57a2dd94b7590f04ad808"),
    ({}, "44136fa355b3678a1146ad16f7e8649e"),
    ([], "4f53cda18c2baa0c0354bb5f9a3ecbe5"),
    (None, "74234e98afe7498fb5daf1f36ac2d78a"),
]


@pytest.mark.parametrize(("identity", "digits"), GOLDEN)
def test_golden(identity: Any, digits: str) -> None:
    assert fingerprint(identity) == digits


def test_golden_of_every_type() -> None:
    """Frozen: whoever changes this loses every published artifact. Checked with `sha256sum`, too."""
    identity = {"stage": "train", "rate": 1e-3, "size": 8, "on": True, "none": None, "é": ["ü", 1.0, -2, 1e22]}
    assert fingerprint(identity) == "c9aaa755cac8cfc5ff2583bd1bf32d2e"


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
identities = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
mappings = st.dictionaries(st.text(max_size=5), identities, min_size=1, max_size=4)


def places(value: Any) -> list[list[Any]]:
    """The paths of all leaves, empty lists and mappings among them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[key, *rest] for key, item in items for rest in places(item)] or [[]]


def replaced(value: Any, path: list[Any], leaf: Any) -> Any:
    if not path:
        return leaf
    copied = copy.copy(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], leaf)
    return copied


@pytest.mark.slow
@given(identity=mappings, leaf=leaves, data=st.data())
def test_any_change_of_any_leaf_changes_it(identity: dict[str, Any], leaf: Any, data: st.DataObject) -> None:
    changed = replaced(identity, data.draw(st.sampled_from(places(identity))), leaf)
    assume(json.dumps(changed, sort_keys=True) != json.dumps(identity, sort_keys=True))  # 1, 1.0 and true differ
    assert fingerprint(changed) != fingerprint(identity)
    assert drift(identity, changed)


@pytest.mark.slow
@given(identity=mappings, data=st.data())
def test_key_order_does_not_matter(identity: dict[str, Any], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(identity.items()))))
    assert fingerprint(shuffled) == fingerprint(identity)
    assert drift(shuffled, identity) == []


@given(identity=identities)
def test_survives_json(identity: Any) -> None:
    """A record read from disk has the fingerprint that it was published under."""
    assert fingerprint(json.loads(json.dumps(identity))) == fingerprint(identity)


def test_types_are_told_apart() -> None:
    values = [1, 1.0, True, "1", [1], None, "None", 0, False, "", [], {}]
    assert len({fingerprint(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, b"x", object(), 1 + 2j, {"a": [{"b": (1,)}]}, {1: 2}, {None: 1}])
def test_what_json_would_change_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="identity"):
        fingerprint(value)


def test_error_names_the_place() -> None:
    with pytest.raises(TypeError, match=r"identity\.a\[1\]\.b is a tuple"):
        fingerprint({"a": [0, {"b": ()}]})


def test_subclasses_of_plain_types_are_refused() -> None:
    """Such as numpy.float64, whose text form differs between versions."""

    class Number(float):
        pass

    with pytest.raises(TypeError, match="Number"):
        fingerprint({"a": Number(1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": [value]})


def test_drift_names_every_difference() -> None:
    old = {"a": 1, "b": {"c": [1, {"d": 2}], "e": "x"}, "gone": None}
    new = {"a": 1.0, "b": {"c": [1, {"d": 3}], "e": "x"}, "new": [1]}
    assert drift(old, new) == ["a: 1 -> 1.0", "b.c[1].d: 2 -> 3", "gone: null -> (absent)", "new: (absent) -> [1]"]
    assert drift({"a": [1]}, {"a": [1, 2]}) == ["a: [1] -> [1, 2]"]
