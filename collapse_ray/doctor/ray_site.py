"""The nodes of a Ray cluster, each with a process on it that runs what checks ask. A Ray seam."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from collapse_ray.doctor.site import Failure, Node
from collapse_ray.train.cluster import cluster, connect, quiet
from collapse_ray.train.execution import RunConfig

START_S = 120.0
"""A node whose process has not answered by then is taken for unreachable."""
CALL_S = 180.0
HEAD = "node:__internal_head__"

P = ParamSpec("P")
T = TypeVar("T")


@ray.remote(num_cpus=0)
class Examiner:
    """A process on one node."""

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


def place() -> tuple[str, bool]:
    """Of the node that it runs on: Ray's folder, and whether its processes ask for the token.

    Not a method of `Examiner`, which Ray may ship as a copy: this one the node imports, as all that checks ask for.
    """
    node: Any = ray._private.worker.global_worker.node  # type: ignore[attr-defined]  # in no public place
    return str(Path(node.get_session_dir_path()).parent), is_token_auth_enabled()


class RaySite:
    """The cluster that this process is connected to; see `Site`."""

    def __init__(self, store: str | None, *, is_temporary: bool) -> None:
        self.store = store
        self.is_temporary = is_temporary
        context: Any = ray.init(ignore_reinit_error=True, logging_level=logging.ERROR)
        self.dashboard_port = int(context.dashboard_url.rpartition(":")[2]) if context.dashboard_url else None
        self.gcs_port = int(ray.get_runtime_context().gcs_address.rpartition(":")[2])
        self._failures: list[Failure] = []
        found = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"])
        actor: Any = Examiner
        self._actors: dict[str, Any] = {
            node["NodeID"]: actor.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in found
        }
        places = self._gather({_name(node): self._actors[node["NodeID"]].run.remote(place) for node in found}, START_S)
        self.unreachable: Sequence[Failure] = self.take_failures()
        self.nodes: Sequence[Node] = [_node(node, *places[_name(node)]) for node in found if _name(node) in places]

    def each(self, function: Callable[Concatenate[Node, P], T], *args: P.args, **kwargs: P.kwargs) -> dict[str, T]:
        calls = {node.name: self._actors[node.id].run.remote(function, node, *args, **kwargs) for node in self.nodes}
        return self._gather(calls, CALL_S)

    def call(self, node: Node, function: Callable[[Node], T]) -> T | None:
        return self._gather({node.name: self._actors[node.id].run.remote(function, node)}, CALL_S).get(node.name)

    def take_failures(self) -> list[Failure]:
        taken, self._failures = self._failures, []
        return taken

    def close(self) -> None:
        """Ends the processes."""
        for actor in self._actors.values():
            ray.kill(actor)

    def _gather(self, calls: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """What was answered in time; the rest are failures."""
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=timeout_s)
        answers = dict[str, Any]()
        for name, call in calls.items():
            try:
                answers[name] = ray.get(call, timeout=0)
            except GetTimeoutError:
                self._failures.append(Failure(name, f"no answer in {timeout_s:g} s"))
            except RayError as error:
                self._failures.append(Failure(name, _say(error)))
        return answers


@contextmanager
def connected(address: str | None, store: str | None) -> Iterator[RaySite]:
    """The cluster of an address, or this machine as a cluster of its own that ends with the block.

    Raises:
        InvalidInput: there is no such cluster, or it refuses this process.
    """
    if address is None:
        with cluster(RunConfig()), _examining(RaySite(store, is_temporary=True)) as site:
            yield site
        return
    quiet()
    connect(address)
    try:
        with _examining(RaySite(store, is_temporary=False)) as site:
            yield site
    finally:
        ray.shutdown()


@contextmanager
def _examining(site: RaySite) -> Iterator[RaySite]:
    try:
        yield site
    finally:
        site.close()


def _node(node: dict[str, Any], ray_folder: str, token_auth: bool) -> Node:
    resources = node["Resources"]
    return Node(
        id=node["NodeID"],
        name=_name(node),
        address=node["NodeManagerAddress"],
        is_head=HEAD in resources,
        num_cpus=resources.get("CPU", 0.0),
        num_gpus=resources.get("GPU", 0.0),
        object_store_bytes=int(resources.get("object_store_memory", 0)),
        ray_folder=ray_folder,
        token_auth=token_auth,
    )


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']}-{node['NodeID'][:8]}"


def _say(error: RayError) -> str:
    """One line: of an exception in a task its own words, else the last line, where Ray says why."""
    if isinstance(error, RayTaskError) and error.cause is not None:
        return f"{type(error.cause).__name__}: {error.cause}".partition("\n")[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1]
