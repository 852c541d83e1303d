"""A trial that drives a resident worker group of Ray Train, a generation at a time. A Ray seam."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ray

from collapse_ray.lineage.launch import FINAL
from collapse_ray.lineage.progress import Listener
from collapse_ray.search.given import Common, Given, reports
from collapse_ray.search.report import Report
from collapse_ray.train.group import Group
from collapse_ray.train.worker import run_resident

END_S = 60.0
"""A group that was told to end and has not by then is killed with its trial."""


@ray.remote(num_cpus=0)
class Gate:
    """Holds the group between two generations until Tune has decided: what it ends is not sampled, and ends in order.

    A group that is killed instead leaves its placement group to Train's cleaner.
    """

    def __init__(self) -> None:
        self._allowed = 1
        self._closed = False
        self._changed = asyncio.Event()

    async def allow(self, generation: int) -> None:
        """Lets the group begin a generation."""
        self._allowed = max(self._allowed, generation)
        self._wake()

    async def close(self) -> None:
        """Ends the group after its generation."""
        self._closed = True
        self._wake()

    async def may_begin(self, generation: int) -> bool:
        """Answers once it is decided."""
        while not self._closed and generation > self._allowed:
            await self._changed.wait()
        return not self._closed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def resident_reports(given: Given, common: Common, listener: Listener) -> Iterator[Report]:
    """The reports of a lineage on a worker group, which lives until the lineage ends or the generator is closed.

    A group that was lost is replaced by one that goes through the generations again, without a second report of any.

    Raises:
        GroupFailed: workers died more often than `run.retries` allows.
        InvalidInput, StoreError, PlanMismatch: the lineage cannot run.
    """
    actor: Any = Gate
    # Whatever a trial starts would wait for ever for a place in the trial's own placement group.
    gate = actor.options(scheduling_strategy="DEFAULT").remote()
    posts: queue.Queue[Any] = queue.Queue()
    thread = threading.Thread(target=_drive, args=(given, common, gate, posts.put), name="collapse-group", daemon=True)
    thread.start()
    reported = 0
    try:
        while (post := posts.get()) is not None:
            if isinstance(post, Exception):
                raise post
            if not isinstance(post, Report):
                listener(post)
            elif post.generation > reported:
                reported = post.generation
                yield post
                gate.allow.remote(reported + 1)
    finally:
        ray.get(gate.close.remote())
        thread.join(END_S)


def _drive(given: Given, common: Common, gate: Any, post: Callable[[Any], None]) -> None:
    """In a thread of the trial: Train's `fit` blocks until the lineage ends."""
    try:
        run_resident(partial(_on_rank, given, common, gate), common.run, given.id, post, FINAL)
    except Exception as error:
        post(error)  # raised by the generator, in the trial
    else:
        post(None)


def _on_rank(given: Given, common: Common, gate: Any, group: Group, post: Callable[[Any], None]) -> None:
    from collapse_ray.data.stream import ray_stream

    for report in reports(given, common, group, ray_stream, post):
        post(report)
        if report.state == "running":
            may_go_on = ray.get(gate.may_begin.remote(report.generation + 1)) if group.rank == 0 else None
            if not group.broadcast(may_go_on):
                return
