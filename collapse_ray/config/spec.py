"""Frozen, strict values that say what is to be computed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Spec(BaseModel):
    """Base of every spec: immutable, no coercion between types, no unknown keys, no NaN.

    A spec has no pydantic "before" or "wrap" validator, and must not get one: behind such a
    validator JSON counts as Python, where strict mode refuses a list for a tuple.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    located: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where something lies, not what it is: they never enter the identity."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        strangers = cls.located - cls.model_fields.keys()
        if strangers:
            raise TypeError(f"{cls.__qualname__}.located names what is no field: {sorted(strangers)}")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A validated copy.

        Pydantic's own takes `update` unseen, so that a float field given 1 would have the identity 1, not 1.0.

        Raises:
            pydantic.ValidationError: `update` has an unknown key or a value that the field refuses.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return super().model_copy(deep=deep) if update is None else type(self)(**{**fields, **update})

    def absolute(self) -> Self:
        """A copy whose located fields mean the same in any working directory, such as that of a worker."""
        given = {name: getattr(self, name) for name in self.located}
        paths = {name: value for name, value in given.items() if value is not None and "://" not in value}
        return self.model_copy(update={name: str(Path(path).expanduser().absolute()) for name, path in paths.items()})

    def identity(self) -> dict[str, Json]:
        """The JSON value that is fingerprinted: every field of the actual class, located ones left out.

        Walks instances instead of ``model_dump``, which drops the fields of a subclass where a
        field is typed as its base class.

        Raises:
            TypeError: a field holds a value without a stable form (a set, bytes, a path, ...).
        """
        return {
            name: _identity(getattr(self, name), name) for name in type(self).model_fields if name not in self.located
        }


def _identity(value: Any, path: str) -> Json:
    if isinstance(value, Spec):
        return value.identity()
    if isinstance(value, Mapping):
        strangers = [key for key in value if not isinstance(key, str)]
        if strangers:
            raise TypeError(f"{path} has the key {strangers[0]!r}, which is not a string")
        return {key: _identity(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float):
        return value + 0.0  # -0.0 equals 0.0 and must not have another fingerprint
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}, which has no stable form: {value!r}")
