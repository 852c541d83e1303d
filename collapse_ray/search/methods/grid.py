"""Every combination of the values of all axes."""

from collections.abc import Mapping
from itertools import product

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Json
from collapse_ray.search.axes import Axis
from collapse_ray.search.method import Asked, SearchSpec


class Spec(SearchSpec):
    """Every combination of all axes; the last axis varies fastest."""

    def check(self, asked: Asked) -> None:
        self.points(asked.axes)

    def points(self, axes: Mapping[str, Axis]) -> list[dict[str, Json]]:
        """The whole grid.

        Raises:
            InvalidInput: an axis is a range.
        """
        for path, axis in axes.items():
            if axis.range is not None:
                raise InvalidInput(
                    f"axes.{path}: a grid needs a list of values, and this is a range; give a list, "
                    "or search={kind: frontier, axis: …, precision: …}, or search={kind: random, num_points: …}"
                )
        return [dict(zip(axes, values, strict=True)) for values in product(*(axis.choices for axis in axes.values()))]
