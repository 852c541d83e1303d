"""The meter of a node as an actor: pinned there, of no CPUs, in a process of its own. A Ray seam."""

import logging
import os
import socket
import threading
import time
import uuid
from typing import Any

import psutil
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from collapse_ray.energy.marks import Work
from collapse_ray.energy.processes import process_name
from collapse_ray.ledger.batch import Ack, Batch
from collapse_ray.ledger.mark_file import MarkFile
from collapse_ray.ledger.names import ledger_name, meter_name, short_id
from collapse_ray.ledger.node_folder import node_folder
from collapse_ray.ledger.rows import pack
from collapse_ray.train.shared_actors import NAMESPACE

log = logging.getLogger(__name__)

SUBMIT_S = 5.0
"""A batch that the ledger has not answered by then is sent again later."""
GRACE_S = 0.95
"""How late marks may come: on a node whose CPUs are all busy, calls between its processes take their time.

With the time that reads take, it makes the second after which the next reads are due: the thread wakes once for both.
"""
LAG_S = GRACE_S + 2.0
"""Joules are told this late at most, where reads behind a mark are awaited (`device_settler.SETTLE_S`)."""
LOOK_S = 1.0
"""How often it is asked whether the processes that hold open marks still live."""
HELD_S = 30.0
"""A meter that no driver has asked for since then ends: a driver that was killed lets go of it so."""
FAILED_S = 30.0
"""A meter whose thread failed is started anew no more often than this."""
ANSWER_S = 0.5
"""Its last answer has left its process by then."""
TASK_RETRIES = 3


def node_label(node_id: str) -> str:
    """What the ledger calls a node: its host, and which Ray node there, since one host may hold several."""
    return f"{socket.gethostname()}-{short_id(node_id)}"


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=TASK_RETRIES)
class MeterActor:
    """Takes marks from the workers of its node, and tells the ledger what they cost.

    Drivers hold it, each for a while at a time, and it ends with the last one.
    """

    def __init__(self, key: str, interval_s: float, estimate: bool, tdp_w: float | None) -> None:
        # Not above: workers load this module with the actor's handle, and their first mark should not wait for it.
        from collapse_ray.ledger.node_meter import NodeMeter  # noqa: PLC0415

        node_id = ray.get_runtime_context().get_node_id()
        node = node_label(node_id)
        self._ledger_name = ledger_name(key)
        self._held_until_s: dict[str | None, float] = {None: time.monotonic() + HELD_S}
        self._ended = threading.Event()
        name = f"{node}-{uuid.uuid4().hex[:12]}"
        self._marks = MarkFile(node_folder() / f"{meter_name(key, node_id)}.marks")
        # From now on the ledger takes nothing more from the meter before this one, which may hang.
        resume: Any = ray.get(self._ledger.resume.remote(node, name))
        self._meter = NodeMeter(
            node,
            self._submit,
            meter=name,
            resume=resume if self._marks.was_left else None,  # joules since a meter ended well are nobody's
            interval_s=interval_s,
            estimate=estimate,
            tdp_w=tdp_w,
            grace_s=GRACE_S,
        )
        told_unix_s = max((total.settled_unix_s for total in resume.totals), default=time.time())
        self._take_over(time.monotonic() - (time.time() - told_unix_s))
        self._meter.start()
        threading.Thread(target=self._tend, name="collapse-tend", daemon=True).start()

    @ray.method(max_task_retries=0)  # whoever sends marks sends them again, in order
    def begin(self, token: str, work: Work, **claim: Any) -> None:
        """Work begins; sent again, it begins once."""
        self._await_end()
        self._workers[token] = claim["worker"]
        self._marks.begin(token, work, **claim)
        self._meter.begin(token, work, **claim)

    @ray.method(max_task_retries=0)
    def end(self, token: str, time_s: float) -> None:
        """It ended."""
        self._await_end()
        self._end(token, time_s)

    def hold(self, job: str) -> list[str]:
        """A job wants this node metered for `HELD_S` more.

        Returns:
            Once the node is metered: why devices are missing, one sentence per source.
        """
        self._await_end()
        self._held_until_s.pop(None, None)
        self._held_until_s[job] = time.monotonic() + HELD_S
        return self._meter.absences

    def release(self, job: str) -> bool:
        """A job no longer wants it; with the last one the meter delivers all that it has, and ends. Whether it does."""
        self._held_until_s.pop(None, None)
        self._held_until_s.pop(job, None)
        return self.end_unless_held()

    def end_unless_held(self) -> bool:
        """Ends where no job has held the meter for `HELD_S`, as one that was killed. Whether it does."""
        if any(until_s > time.monotonic() for until_s in self._held_until_s.values()):
            return False
        if not self._ended.is_set():
            self._meter.close()
            self._marks.remove()
            self._ended.set()
        return True

    def _await_end(self) -> None:
        """What comes too late is not answered: the caller hears of the end, and turns to the meter after this one."""
        if self._ended.is_set():
            time.sleep(10 * ANSWER_S)

    def _take_over(self, told_s: float) -> None:
        """Takes the marks that the meter before this one was told. Work of dead processes ended when it last lived."""
        self._workers = self._meter.open_workers() | self._marks.open_workers()
        for method, arguments in self._marks.found():
            getattr(self._meter, method)(**arguments)
        self._end_work_of_the_dead(max(told_s, self._marks.last_s() or told_s))

    def _submit(self, batch: Batch) -> Ack | None:
        try:
            return ray.get(self._ledger.submit.remote(pack(batch)), timeout=SUBMIT_S)
        except (RayError, ValueError) as error:
            log.info("the ledger does not answer, batch %d waits: %s", batch.number, error)
            return None

    @property
    def _ledger(self) -> Any:
        """Looked up each time: the one that is there may be another than before."""
        return ray.get_actor(self._ledger_name, NAMESPACE)

    def _tend(self) -> None:
        """In a thread: ends work of processes that were killed, and the meter when no driver holds it any more."""
        itself = ray.get_runtime_context().current_actor
        while not self._ended.wait(LOOK_S):
            now_s = time.monotonic()
            self._end_work_of_the_dead(now_s)
            if max(self._held_until_s.values(), default=0.0) < now_s:
                ray.get(itself.end_unless_held.remote())
            if not self._meter.running and not self._ended.wait(FAILED_S):
                os._exit(1)  # Ray starts another, which goes on with the counters as they are then
        time.sleep(ANSWER_S)
        ray.kill(itself)

    def _end_work_of_the_dead(self, time_s: float) -> None:
        """Work of a process that was killed ends with it: nobody else would say so."""
        open_workers = dict(self._workers)
        lives = {worker: _lives(worker) for worker in set(open_workers.values())}
        for token, worker in open_workers.items():
            if not lives[worker]:
                self._end(token, time_s)
        if self._workers:
            self._marks.seen(time_s)

    def _end(self, token: str, time_s: float) -> None:
        self._workers.pop(token, None)
        self._marks.end(token, time_s)
        self._meter.end(token, time_s)


def _lives(worker: str | None) -> bool:
    """Whether a process of this node lives; one that nobody has buried yet does not."""
    assert worker is not None  # markers name theirs
    try:
        process = psutil.Process(int(worker.partition("@")[0]))
        return process_name(process) == worker and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_meter(key: str, node_id: str, interval_s: float, estimate: bool, tdp_w: float | None) -> Any:
    """The meter of a node: the one that runs there, or a new one.

    It outlives the driver that starts it, because others may use it, and ends when none holds it any more.
    """
    actor: Any = MeterActor
    options = actor.options(
        name=meter_name(key, node_id),
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    return options.remote(key, interval_s, estimate, tdp_w)
