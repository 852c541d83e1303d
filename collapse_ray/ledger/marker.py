"""Marks on their way from a worker to the meter of its node. A Ray seam."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psutil
import ray
from ray.exceptions import RayActorError, RayError

from collapse_ray.energy.marks import Work
from collapse_ray.ledger.names import NAMESPACE, meter_name

log = logging.getLogger(__name__)

DELIVER_S = 2.0
"""The outermost block waits no longer than this for its marks to arrive: its process may end with it."""


def this_process() -> str:
    """Names this process for its node's meter: a process identifier alone may be given to another one."""
    return process_name(psutil.Process())


def process_name(process: psutil.Process) -> str:
    """Names a process of this node."""
    return f"{process.pid}@{process.create_time():.2f}"


class RayMarker:
    """Sends marks to the meter actor of this node, without waiting for it.

    A meter that is not there yet, or was lost, gets the marks late and in order, with the times at which they were
    taken: the monotonic clock is the node's.

    Args:
        key: of the ledger (`names.ledger_key`).
        gpus: UUIDs of the GPUs that this process uses.
        share: its declared share of each GPU in (0, 1); None for all of it.
        cpus: its declared CPUs.
    """

    def __init__(self, key: str, gpus: tuple[str, ...], share: float | None, cpus: float) -> None:
        self._name = meter_name(key, ray.get_runtime_context().get_node_id())
        self._claim = {"gpus": gpus, "share": share, "cpus": cpus, "worker": this_process()}
        self._meter: Any = None
        self._waiting: deque[tuple[str, tuple[Any, ...], dict[str, Any]]] = deque()
        self._sent: deque[tuple[Any, tuple[str, tuple[Any, ...], dict[str, Any]]]] = deque()
        self._depth = 0

    def working(self, work: Work) -> AbstractContextManager[None]:
        return self._block(work)

    @contextmanager
    def _block(self, work: Work) -> Iterator[None]:
        token = uuid.uuid4().hex
        self._tell("begin", token, work, time_s=time.monotonic(), **self._claim)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._tell("end", token, time_s=time.monotonic())
            if not self._depth:
                self._deliver()

    def _tell(self, method: str, *arguments: Any, **named: Any) -> None:
        self._take_back_lost(wait_s=0)
        self._waiting.append((method, arguments, named))
        self._send()

    def _send(self) -> None:
        if self._meter is None:
            try:
                self._meter = ray.get_actor(self._name, NAMESPACE)
            except ValueError:
                return  # not started yet: this mark waits for the next
        while self._waiting:
            call = self._waiting.popleft()
            method, arguments, named = call
            self._sent.append((getattr(self._meter, method).remote(*arguments, **named), call))

    def _take_back_lost(self, wait_s: float) -> None:
        """Forgets what has arrived; what was sent to a meter that is gone waits again, before what came later."""
        if not self._sent:
            return
        references = [reference for reference, _ in self._sent]
        arrived, _ = ray.wait(references, num_returns=len(references), timeout=wait_s)
        lost = []
        for reference, call in [pair for pair in self._sent if pair[0] in set(arrived)]:
            try:
                ray.get(reference)
            except RayActorError:
                lost.append(call)
            except RayError as error:
                log.warning("a mark was not taken, its time counts as idle: %s", str(error).strip().splitlines()[-1])
        self._sent = deque(pair for pair in self._sent if pair[0] not in set(arrived))
        if lost:
            self._meter = None
            self._waiting.extendleft(reversed([*lost, *(call for _, call in self._sent)]))
            self._sent.clear()

    def _deliver(self) -> None:
        deadline_s = time.monotonic() + DELIVER_S
        while (self._waiting or self._sent) and (left_s := deadline_s - time.monotonic()) > 0:
            self._take_back_lost(wait_s=left_s)
            if self._waiting:
                time.sleep(min(left_s, 0.05))
                self._send()
        if self._waiting or self._sent:
            log.warning("the meter %s did not take the last marks within %.0f s", self._name, DELIVER_S)
