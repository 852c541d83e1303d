"""A site without Ray."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from collapse_ray.doctor.site import Failure, Node

P = ParamSpec("P")
T = TypeVar("T")
NODE = Node("ab12", "here-ab12", "127.0.0.1", True, 2.0, 0.0, 2**20, "/tmp/ray", True)


class PlainSite:
    """This process in the place of a node."""

    def __init__(self, store: Path | None = None, unreachable: Sequence[Failure] = ()) -> None:
        self.nodes: Sequence[Node] = [NODE]
        self.unreachable: Sequence[Failure] = unreachable
        self.store: str | None = None if store is None else str(store)
        self.dashboard_port: int | None = None
        self.gcs_port = 6379
        self.is_temporary = True
        self.failing: Callable[..., Any] | None = None
        self._failures: list[Failure] = []

    def each(self, function: Callable[Concatenate[Node, P], T], *args: P.args, **kwargs: P.kwargs) -> dict[str, T]:
        if function is self.failing:
            self._failures.append(Failure(NODE.name, "ImportError: no such module"))
            return {}
        return {NODE.name: function(NODE, *args, **kwargs)}

    def call(self, node: Node, function: Callable[[Node], T]) -> T | None:
        return self.each(function).get(node.name)

    def take_failures(self) -> list[Failure]:
        taken, self._failures = self._failures, []
        return taken
