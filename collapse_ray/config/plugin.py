"""Specs chosen by `kind`: `kind: vae` means the class `Spec` in the file `vae.py` of the root's folder."""

import importlib
import json
import pkgutil
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from collapse_ray.config.errors import did_you_mean
from collapse_ray.config.spec import Json, Spec


class Plugin(Spec):
    """Base of the roots (family, source, metric, regime, ...).

    A root sets `folder` to the dotted name of the package that holds its kinds, one file each. A
    field typed as the root accepts `{kind: NAME, ...}` or the bare string `NAME`.
    """

    folder: ClassVar[str]

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The names of all kinds, found by listing the root's folder; nothing is imported but the folder."""
        package = importlib.import_module(cls.folder)
        return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))

    @classmethod
    def of_kind(cls, kind: str) -> type[Self]:
        """The spec class of one kind.

        Raises:
            PydanticCustomError: no file of that name exists; names the nearest and all choices.
            ImportError: the file exists and cannot be imported.
        """
        choices = cls.kinds()
        if kind not in choices:
            raise PydanticCustomError(
                "unknown_kind", "unknown kind '{kind}'; {hint}", {"kind": kind, "hint": did_you_mean(kind, choices)}
            )
        name = f"{cls.folder}.{kind}"
        try:
            return importlib.import_module(name).Spec
        except (ValueError, AssertionError) as error:
            # Pydantic takes these two for a verdict on the input and would hide a broken file behind it.
            raise ImportError(f"{name} cannot be imported: {error}", name=name) from error

    @property
    def kind(self) -> str:
        """The name of the file that defines this spec."""
        return type(self).__module__.rpartition(".")[2]

    def identity(self) -> dict[str, Json]:
        return {"kind": self.kind, **super().identity()}

    def dump(self) -> dict[str, Any]:
        """The value that resolves back to this spec, located fields included."""
        return {"kind": self.kind, **self.model_dump(mode="json")}

    @classmethod
    def resolve(cls, value: Any) -> Self:
        """Validates `{kind: NAME, ...}` or `NAME` into the spec of that kind.

        The value goes through JSON because only there a list is accepted for a tuple. Locations in
        errors are kept: pydantic joins those of a nested ValidationError to the field's own.

        Raises:
            PydanticCustomError: there is no `kind`, or no such kind.
            pydantic.ValidationError: the kind refuses the other keys.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise PydanticCustomError("no_kind", "needs a 'kind'; {hint}", {"hint": did_you_mean("", cls.kinds())})
        fields = {key: item for key, item in value.items() if key != "kind"}
        return cls.of_kind(value["kind"]).model_validate_json(json.dumps(fields))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if "folder" not in cls.__dict__:
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls.resolve, serialization=core_schema.plain_serializer_function_ser_schema(lambda spec: spec.dump())
        )
