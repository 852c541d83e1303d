"""Keeps the ledger and one meter on every node alive while lineages run. A Ray seam, in the driver."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Marker
from collapse_ray.ledger.actor import start_ledger
from collapse_ray.ledger.ancestry import write_energies
from collapse_ray.ledger.marker import RayMarker
from collapse_ray.ledger.meter_actor import MeterActor
from collapse_ray.ledger.names import NAMESPACE, ledger_key, meter_name
from collapse_ray.ledger.query import read_ledger
from collapse_ray.train.execution import MeterConfig, RunConfig
from collapse_ray.train.group import Group

log = logging.getLogger(__name__)

WATCH_S = 2.0
"""A node that joins is metered within this time, and the start of a process."""
START_S = 30.0
"""Lineages begin when every node is metered, and no later than this: what is not looked at cannot be told later."""
CLOSE_S = 10.0
"""What meters have not delivered by then is lost; the ledger's check shows it."""


@dataclass(frozen=True)
class RayMarks:
    """Where driver and workers get their markers from."""

    key: str
    run: RunConfig

    def of_driver(self) -> Marker:
        return RayMarker(self.key, gpus=(), share=None, cpus=1.0)

    def of_worker(self, group: Group) -> Marker:
        share = self.run.gpus_per_worker
        return RayMarker(
            self.key, gpus_of(group.device), share if 0 < share < 1 else None, cpus=self.run.cpus_per_worker
        )


def gpus_of(device: torch.device) -> tuple[str, ...]:
    """UUIDs of the GPU that a worker computes on, as NVML writes them; none for a CPU."""
    if device.type != "cuda":
        return ()
    return (f"GPU-{torch.cuda.get_device_properties(device).uuid}",)


@contextmanager
def metered(store: Store, run: RunConfig) -> Iterator[RayMarks]:
    """Starts the ledger of a store and a meter on every node, those that join later included.

    Other jobs with the same store find them and use them; what ends with the job that started it, they start anew. At
    the end every artifact of the store has its joules beside its record.
    """
    key = ledger_key(store)
    keeper = _Keeper(store, key, run.meter)
    try:
        yield RayMarks(key, run)
    finally:
        keeper.close()
        write_energies(store, read_ledger(store))


class _Keeper:
    """A thread that starts a meter on every node that has none, and what was lost again."""

    def __init__(self, store: Store, key: str, meter: MeterConfig) -> None:
        self._store, self._key, self._config = store, key, meter
        self._job = ray.get_runtime_context().get_job_id()
        self._ledger = start_ledger(store, key)
        self._meters: dict[str, Any] = {}
        self._answers: dict[str, Any] = {}
        self._ended = threading.Event()
        self._look()
        answers = list(self._answers.values())
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=START_S)
        if len(ready) < len(answers):
            log.warning("%d of %d nodes are not metered yet", len(answers) - len(ready), len(answers))
        self._thread = threading.Thread(target=self._watch, name="collapse-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the meters, each of which delivers what it has, and then makes all durable."""
        self._ended.set()
        self._thread.join()
        meters = list(self._meters.values())
        ended = _wait([meter.release.remote(self._job) for meter in meters], "a meter") or []
        for meter, has_ended in zip(meters, ended, strict=False):
            if has_ended:
                ray.kill(meter)
        _wait([self._ledger.flush.remote()], "the ledger")

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_S):
            try:
                self._look()
            except RayError as error:
                log.warning("the energy meters could not be looked after, which is tried again: %s", error)

    def _look(self) -> None:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for node in self._meters.keys() - alive:
            del self._meters[node], self._answers[node]
        for node in alive:
            if node not in self._meters or self._is_lost(node):
                self._ledger = start_ledger(self._store, self._key)
                self._meters[node] = self._start(node)
                self._answers[node] = self._meters[node].ready.remote()

    def _start(self, node: str) -> Any:
        pinned = NodeAffinitySchedulingStrategy(node, soft=False)
        name = meter_name(self._key, node)
        options = MeterActor.options(
            name=name, namespace=NAMESPACE, get_if_exists=True, scheduling_strategy=pinned, num_cpus=0
        )
        meter: Any = options.remote(self._key, self._config.interval_s, self._config.estimate, self._config.tdp_w)
        meter.hold.remote(self._job)
        return meter

    def _is_lost(self, node: str) -> bool:
        """Whether a meter ended for good, as with the job that started it; asks it again once it has answered."""
        answered, _ = ray.wait([self._answers[node]], timeout=0)
        if not answered:
            return False
        try:
            ray.get(answered)
        except RayActorError:
            return True
        self._answers[node] = self._meters[node].ready.remote()
        return False


def _wait(answers: list[Any], who: str) -> list[Any] | None:
    """Waits for answers; None where they do not come, which may not stop what was metered."""
    try:
        return ray.get(answers, timeout=CLOSE_S)
    except (RayError, GetTimeoutError) as error:
        why = str(error).strip().splitlines()[-1]
        log.warning("%s did not end well; what it had not delivered is not in the ledger: %s", who, why)
        return None
