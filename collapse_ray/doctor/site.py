"""What checks examine: the nodes, and a way to have a function run on each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """One node as Ray knows it."""

    id: str
    name: str
    """Its host and the beginning of its id, since one host may hold several: what the ledger calls it, too."""
    address: str
    """By which other nodes reach it."""
    is_head: bool
    num_cpus: float
    num_gpus: float
    """That Ray gives to workers."""
    object_store_bytes: int
    ray_folder: str
    """Ray's folder of logs, sockets and spilled objects."""
    token_auth: bool
    """Its processes talk to those alone that know the token."""


@dataclass(frozen=True)
class Failure:
    """A node on which a function raised, or that did not answer."""

    node: str
    error: str


class Site(Protocol):
    """A cluster, or this machine as one of a single node."""

    nodes: Sequence[Node]
    """Those that answer."""
    unreachable: Sequence[Failure]
    """Those that do not."""
    store: str | None
    """Folder or URI of the store to be examined."""
    dashboard_port: int | None
    """Of the head; None where no dashboard runs."""
    gcs_port: int
    """Of the head: Ray's control port."""
    is_temporary: bool
    """Ray was started for this examination, and ends with it."""

    def each(self, function: Callable[Concatenate[Node, P], T], *args: P.args, **kwargs: P.kwargs) -> dict[str, T]:
        """Calls `function(node, ...)` on all nodes at once.

        Args:
            function: at the top of a module, which the nodes import.
            args: of every call, after the node itself.
            kwargs: of every call.

        Returns:
            By name of the node what it answered; those that did not are kept for `take_failures`.
        """
        ...

    def call(self, node: Node, function: Callable[[Node], T]) -> T | None:
        """Calls `function(node)` on one node; None where it failed, which is kept for `take_failures`."""
        ...

    def take_failures(self) -> list[Failure]:
        """What failed since this was asked the last time."""
        ...
