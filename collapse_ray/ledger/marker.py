"""Marks on their way from a worker to the meter of its node. A Ray seam."""

import atexit
import logging
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import psutil
import ray
from ray.exceptions import RayActorError

from collapse_ray.energy.marks import Work
from collapse_ray.energy.processes import process_name
from collapse_ray.ledger.names import meter_name
from collapse_ray.train.shared_actors import NAMESPACE

log = logging.getLogger(__name__)

RETRY_S = 0.25
"""A meter that is not there is looked up again after this time."""
IDLE_S = 10.0
"""The thread of a marker that has nothing to send for so long ends; the next mark starts another."""
MAX_CALLS = 20_000
"""Of marks that a meter has not answered, no more than these are kept: the time of later ones counts as idle."""
DELIVER_S = 2.0
"""A process that ends waits no longer than this for its marks to arrive."""


class _Call(NamedTuple):
    method: str
    arguments: dict[str, Any]


class RayMarker:
    """Sends marks to the meter actor of this node, from a thread: the work that is marked never waits.

    A meter that is not there yet, or was lost, gets the marks late and in order, with the times at which they were
    taken: the monotonic clock is the node's. Marks may come twice, which changes nothing.

    Args:
        key: of the store (`shared_actors.store_key`).
        gpus: UUIDs of the GPUs that this process uses.
        share: its declared share of each GPU in (0, 1); None for all of it.
        cpus: its declared CPUs.
    """

    def __init__(self, key: str, gpus: tuple[str, ...], share: float | None, cpus: float) -> None:
        self._name = meter_name(key, ray.get_runtime_context().get_node_id())
        self._claim = {"gpus": gpus, "share": share, "cpus": cpus, "worker": process_name(psutil.Process())}
        self._waiting: deque[_Call] = deque()
        self._sent: dict[Future[Any], _Call] = {}
        self._news = threading.Condition()
        self._meter: Any = None
        self._lost = False
        self._room = True
        self._thread: threading.Thread | None = None
        _markers.add(self)
        with self._news:
            self._start()  # the meter is found before the first mark

    def working(self, work: Work) -> AbstractContextManager[None]:
        return self._block(work)

    def wait(self, timeout_s: float) -> bool:
        """Waits until the meter has all marks; says whether it has."""
        with self._news:
            return self._news.wait_for(lambda: not self._waiting and not self._sent, timeout_s)

    @contextmanager
    def _block(self, work: Work) -> Iterator[None]:
        token = uuid.uuid4().hex
        began = self._has_room()
        if began:
            self._tell("begin", token=token, work=work, time_s=time.monotonic(), **self._claim)
        try:
            yield
        finally:
            if began:  # whatever else waits: work that did not end would take all that follows
                self._tell("end", token=token, time_s=time.monotonic())

    def _has_room(self) -> bool:
        had_room, self._room = self._room, len(self._waiting) + len(self._sent) < MAX_CALLS
        if had_room and not self._room:
            log.warning("the meter %s takes no marks; the time of those that follow counts as idle", self._name)
        return self._room

    def _tell(self, method: str, **arguments: Any) -> None:
        with self._news:
            self._waiting.append(_Call(method, arguments))
            if self._thread is None:
                self._start()
            self._news.notify_all()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="collapse-marks", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            if not self._send():
                time.sleep(RETRY_S)
            with self._news:
                if not ray.is_initialized() or not self._news.wait_for(lambda: self._waiting, IDLE_S):
                    self._thread = None
                    return

    def _send(self) -> bool:
        """Sends what waits; false where there is nobody to send it to."""
        if self._meter is None:
            if self._lost or not ray.is_initialized():  # without Ray, asking for an actor would start a cluster
                self._lost = False
                return False
            try:
                self._meter = ray.get_actor(self._name, NAMESPACE)
            except ValueError:
                return False
        while self._waiting:
            with self._news:
                if self._meter is None:
                    return False
                call = self._waiting.popleft()
                future = getattr(self._meter, call.method).remote(**call.arguments).future()
                self._sent[future] = call
                future.add_done_callback(self._answered)
        return True

    def _answered(self, future: Future[Any]) -> None:
        """In a thread of Ray's. What was sent to a meter that is gone waits again, before what came later."""
        with self._news:
            if future not in self._sent:
                return
            error = future.exception()
            if isinstance(error, RayActorError):
                self._meter, self._lost = None, True
                self._waiting.extendleft(reversed(self._sent.values()))
                self._sent.clear()
            else:
                del self._sent[future]
                if error is not None:
                    log.warning("a mark was not taken, its time counts as idle: %s", str(error).splitlines()[-1])
            self._news.notify_all()


_markers: "weakref.WeakSet[RayMarker]" = weakref.WeakSet()


def deliver_marks(timeout_s: float = DELIVER_S) -> None:
    """Waits until the marks of this process have arrived, no longer than the timeout."""
    deadline_s = time.monotonic() + timeout_s
    for marker in list(_markers):
        if not marker.wait(max(0.0, deadline_s - time.monotonic())):
            log.warning("not all marks of this process have reached their meter")


atexit.register(deliver_marks)
