"""Model-collapse experiments on a Ray cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapse_ray.report.results import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing a low layer does not import the whole stack above it.
    if name == "load":
        from collapse_ray.report.results import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
