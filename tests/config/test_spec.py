"""A spec is a frozen, strict value, and its identity says all of it."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.spec import Spec


class Base(Spec):
    pass


class Sized(Base):
    size: int
    rate: float = 0.5


class Holder(Spec):
    item: Base
    many: tuple[Base, ...] = ()


class Open(Spec):
    anything: Any
    options: dict[str, float] | None = None


class Placed(Spec):
    located: ClassVar[frozenset[str]] = frozenset({"path"})
    path: Path
    name: str


def test_subclass_fields_enter_the_identity_where_the_field_is_typed_as_the_base() -> None:
    """Pydantic's `model_dump` drops them, so that two sizes would share one fingerprint."""
    small, large = Holder(item=Sized(size=8)), Holder(item=Sized(size=64))
    assert small.model_dump() == large.model_dump()  # the trap, as it is today
    assert small.identity() == {"item": {"size": 8, "rate": 0.5}, "many": []}
    assert fingerprint(small.identity()) != fingerprint(large.identity())


def test_identity_walks_tuples_of_specs() -> None:
    one, two = (Holder(item=Base(), many=(Sized(size=1), Sized(size=n))) for n in (2, 3))
    assert one.identity()["many"] == [{"size": 1, "rate": 0.5}, {"size": 2, "rate": 0.5}]
    assert one.identity() != two.identity()


@pytest.mark.parametrize("text", ['{"size": 1, "rate": 1}', '{"size": 1, "rate": 1.0}', '{"rate": 1e0, "size": 1}'])
def test_a_number_has_one_identity_however_it_is_written(text: str) -> None:
    assert fingerprint(Sized.model_validate_json(text).identity()) == fingerprint({"size": 1, "rate": 1.0})


def test_default_of_a_float_field_is_a_float() -> None:
    class Defaulted(Spec):
        rate: float = 1

    assert type(Defaulted().rate) is float


def test_zero_has_one_identity() -> None:
    assert fingerprint(Sized(size=1, rate=-0.0).identity()) == fingerprint(Sized(size=1, rate=0.0).identity())


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Sized(size=1, rate=rate)
    with pytest.raises(ValidationError, match="finite"):
        Open(anything=1, options={"a": rate})


@pytest.mark.parametrize(
    "value", [{"size": True}, {"size": 1.0}, {"size": "1"}, {"size": 1, "rate": True}, {"size": 1, "x": 2}]
)
def test_no_coercion_and_no_unknown_key(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sized(**value)


def test_json_lists_become_tuples() -> None:
    """A validator that runs before the fields would end this: behind it JSON counts as Python."""
    assert Holder.model_validate_json('{"item": {}, "many": [{}]}').many == (Base(),)


def test_specs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sized(size=1).size = 2  # type: ignore[misc] - what is under test


def test_copy_is_validated() -> None:
    spec = Sized(size=1)
    assert type(spec.model_copy(update={"rate": 1}).rate) is float
    assert spec.model_copy() == spec
    for update in ({"rate": "x"}, {"sise": 2}):
        with pytest.raises(ValidationError):
            spec.model_copy(update=update)


def test_copy_keeps_the_actual_class_of_nested_specs() -> None:
    assert Holder(item=Sized(size=8)).model_copy(update={"many": (Base(),)}).item == Sized(size=8)


def test_located_fields_are_left_out() -> None:
    assert Placed(path=Path("a"), name="x").identity() == {"name": "x"}


def test_located_must_name_fields() -> None:
    with pytest.raises(TypeError, match=r"located names what is no field: \['pth'\]"):

        class Misspelt(Spec):
            located: ClassVar[frozenset[str]] = frozenset({"pth"})
            path: str


@pytest.mark.parametrize("value", [{1, 2}, b"ab", Path("a"), range(3), object(), [1, {"a": {3}}]])
def test_identity_refuses_what_has_no_stable_form(value: Any) -> None:
    with pytest.raises(TypeError, match=r"anything.* has no stable form"):
        Open(anything=value).identity()


def test_identity_refuses_keys_that_json_would_rename() -> None:
    with pytest.raises(TypeError, match="anything has the key 1"):
        Open(anything={1: 2}).identity()
