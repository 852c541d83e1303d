"""The meter of a node as an actor: pinned there, of no CPUs, in a process of its own. A Ray seam."""

import logging
import socket
import threading
import time
import uuid
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from collapse_ray.energy.marks import Work
from collapse_ray.ledger.batch import Ack, Batch
from collapse_ray.ledger.marker import process_name
from collapse_ray.ledger.names import NAMESPACE, ledger_name
from collapse_ray.ledger.node_meter import NodeMeter
from collapse_ray.ledger.rows import pack

log = logging.getLogger(__name__)

SUBMIT_S = 5.0
"""A batch that the ledger has not answered by then is sent again later."""
LIVENESS_S = 1.0
"""How often it is asked whether the processes that hold open marks still live."""
TASK_RETRIES = 3


def node_label(node_id: str) -> str:
    """What the ledger calls a node: its host, and which Ray node there, since one host may hold several."""
    return f"{socket.gethostname()}-{node_id[:8]}"


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=TASK_RETRIES)
class MeterActor:
    """Takes marks from the workers of its node, and tells the ledger what they cost."""

    def __init__(self, key: str, interval_s: float, estimate: bool, tdp_w: float | None) -> None:
        node = node_label(ray.get_runtime_context().get_node_id())
        self._ledger_name = ledger_name(key)
        self._jobs: set[str] = set()
        name = f"{node}-{uuid.uuid4().hex[:12]}"
        # From now on the ledger takes nothing more from the meter before this one, which may hang.
        resume: Any = ray.get(self._ledger.resume.remote(node, name))
        self._meter = NodeMeter(
            node,
            self._submit,
            meter=name,
            resume=resume,
            interval_s=interval_s,
            estimate=estimate,
            tdp_w=tdp_w,
        )
        self._meter.start()
        self._closing = threading.Event()
        threading.Thread(target=self._watch_workers, name="collapse-liveness", daemon=True).start()

    def begin(self, token: str, work: Work, **claim: Any) -> None:
        """Work begins; sent again, it begins once."""
        self._meter.begin(token, work, **claim)

    def end(self, token: str, time_s: float) -> None:
        """It ended."""
        self._meter.end(token, time_s)

    def ready(self) -> list[str]:
        """Returns once the node is metered: why devices are missing, one sentence per source."""
        return self._meter.absences

    def hold(self, job: str) -> None:
        """A job wants this node metered."""
        self._jobs.add(job)

    def release(self, job: str) -> bool:
        """It no longer does; with the last job the meter ends, after it has delivered all. Whether it ended."""
        self._jobs.discard(job)
        if self._jobs:
            return False
        self._closing.set()
        self._meter.close()
        return True

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

    def _watch_workers(self) -> None:
        """Work of a process that was killed ends with it: nobody else would say so."""
        while not self._closing.wait(LIVENESS_S):
            alive = {process_name(process) for process in psutil.process_iter() if process.is_running()}
            for token, worker in self._meter.open_workers().items():
                if worker not in alive:
                    self.end(token, time.monotonic())
