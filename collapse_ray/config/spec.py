"""Frozen, strict values that say what is to be computed."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from collapse_ray.config.errors import did_you_mean

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"


class Spec(BaseModel):
    """Base of every spec: immutable, no coercion between types, no unknown keys, no NaN."""

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

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key '{key}'; {hint}",
                        {"key": str(key), "hint": did_you_mean(str(key), cls.model_fields)},
                    )
        return value

    def identity(self) -> dict[str, Json]:
        """The JSON value that is fingerprinted: every field of the actual class, located ones left out.

        Walks instances instead of ``model_dump``, which drops the fields of a subclass where a
        field is typed as its base class.
        """
        return {name: _identity(getattr(self, name)) for name in type(self).model_fields if name not in self.located}


def _identity(value: Any) -> Json:
    if isinstance(value, Spec):
        return value.identity()
    if isinstance(value, Mapping):
        return {str(key): _identity(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_identity(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no stable form and cannot be part of an identity: {value!r}")
