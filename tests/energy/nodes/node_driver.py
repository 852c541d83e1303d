"""Drivers in processes of their own: they connect, meter, run lineages, and can be killed."""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

import node_work
import ray
from node_work import Plan, Stage
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.service import metered
from collapse_ray.train.execution import MeterConfig, RunConfig

INTERVAL_S = 1.0
"""Time between reads away from marks."""
WAIT_S = 180.0
P = ParamSpec("P")
T = TypeVar("T")

_entered = ExitStack()


class Driver:
    """A process that is connected to a cluster, and calls functions of this module when it is told."""

    def __init__(self, address: str) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_connect, initargs=(address,))
        self._pid = self.start(os.getpid)

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.start(function, *args, **kwargs).result(WAIT_S)

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return self._pool.submit(function, *args, **kwargs)

    def kill(self) -> None:
        os.kill(self._pid.result(WAIT_S), signal.SIGKILL)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _connect(address: str) -> None:
    """To a cluster; `local` starts one that ends with this process."""
    own: dict[str, Any] = {"num_cpus": 2, "include_dashboard": False} if address == "local" else {}
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)


def this_node() -> str:
    """The node that the driver is on."""
    return ray.get_runtime_context().get_node_id()


def enter(store: str) -> str:
    """Begins metering; returns the ledger's key."""
    run = RunConfig(store=store, meter=MeterConfig(estimate=False, interval_s=INTERVAL_S))
    return _entered.enter_context(metered(Store(store), run)).key


def leave() -> None:
    """Ends it."""
    _entered.close()


def run(key: str, plans: Sequence[Plan]) -> list[Stage]:
    """Runs all plans at once, each on its node."""
    done = ray.get([_on(plan.node, node_work.work).remote(key, plan) for plan in plans])
    return [stage for stages in done for stage in stages]


def seconds_per_mark(key: str, node: str, num: int) -> Sequence[float]:
    """Seconds that a worker of a node spends on each mark."""
    return ray.get(_on(node, node_work.seconds_per_mark).remote(key, num))


def _on(node: str, function: Any) -> Any:
    return function.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
