"""Keeps the ledger and one meter on every node alive while lineages run. A Ray seam, in the driver."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Marker
from collapse_ray.ledger.actor import start_ledger
from collapse_ray.ledger.ancestry import write_energies
from collapse_ray.ledger.marker import RayMarker, deliver_marks
from collapse_ray.ledger.meter_actor import LAG_S, start_meter
from collapse_ray.ledger.query import read_ledger
from collapse_ray.lineage.launch import UNMETERED, Metering
from collapse_ray.train.execution import MeterConfig, RunConfig
from collapse_ray.train.group import Group
from collapse_ray.train.shared_actors import store_key

log = logging.getLogger(__name__)

WATCH_S = 2.0
"""A node that joins is metered within this time, and the start of a process."""
POLL_S = 0.1
START_S = 30.0
"""Lineages begin when every node is metered, and no later than this: what is not looked at cannot be told later."""
CLOSE_S = 20.0
"""A driver waits no longer than this for its meters to deliver what they have."""
LAST_PAUSE_S = 60.0
"""A meter that does not start is started again after pauses that grow up to this."""


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


def metering(store: Store, run: RunConfig) -> Metering:
    """Meters the lineages of a store, unless the run's settings switch that off."""
    return partial(metered, store, run) if run.meter.enabled else UNMETERED


@contextmanager
def metered(store: Store, run: RunConfig) -> Iterator[RayMarks]:
    """Starts the ledger of a store and a meter on every node, those that join later included.

    Jobs with the same store share them. They end with the last of these jobs, also where that is killed. At the end
    every artifact of the store has its joules beside its record.
    """
    key = store_key(store)
    keeper = _Keeper(store, key, run.meter)
    try:
        yield RayMarks(key, run)
    finally:
        keeper.close()
        write_energies(store, read_ledger(store))


@dataclass
class _Kept:
    """The meter of one node, as far as it is known here."""

    meter: Any
    answer: Any
    """To the last `hold`."""
    held: bool = False
    pause_s: float = 0.0
    retry_at_s: float = 0.0


class _Keeper:
    """A thread that starts what is not there, or no longer, and tells what is there that it is still needed."""

    def __init__(self, store: Store, key: str, meter: MeterConfig) -> None:
        self._store, self._key, self._config = store, key, meter
        self._job = ray.get_runtime_context().get_job_id()
        self._ledger = start_ledger(store, key)
        self._kept: dict[str, _Kept] = {}
        self._ended = threading.Event()
        self._look()
        self._await_meters()
        self._thread = threading.Thread(target=self._watch, name="collapse-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the meters that no other job holds, each of which delivers what it has; then makes all durable."""
        self._ended.set()
        self._thread.join()
        deliver_marks()
        meters = {f"the meter of node {node}": kept.meter for node, kept in self._kept.items()}
        have_ended = _await({who: meter.release.remote(self._job) for who, meter in meters.items()})
        if not all(have_ended):
            time.sleep(LAG_S + 2 * self._config.interval_s)
        _await({"the ledger": self._ledger.flush.remote()})

    def _await_meters(self) -> None:
        until_s = time.monotonic() + START_S
        while waiting := [kept.answer for kept in self._kept.values() if not kept.held]:
            if time.monotonic() > until_s:
                log.warning("%d of %d nodes are not metered yet", len(waiting), len(self._kept))
                return
            ray.wait(waiting, num_returns=len(waiting), timeout=WATCH_S)
            time.sleep(POLL_S)  # an actor that did not start has answered, too
            self._look()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_S):
            self._look()

    def _look(self) -> None:
        try:
            self._ledger = start_ledger(self._store, self._key)
            self._ledger.hold.remote()
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            self._kept = {node: self._look_at(node, self._kept.get(node)) for node in alive}
        except RayError as error:
            log.warning("the energy meters could not be looked after, which is tried again: %s", error)

    def _look_at(self, node: str, kept: _Kept | None) -> _Kept:
        """Holds the meter of a node for some more time, or starts another where it has ended."""
        if kept is None:
            return self._start(node)
        answered, _ = ray.wait([kept.answer], timeout=0)
        if not answered:
            return kept
        try:
            ray.get(answered)
        except RayError as error:
            now_s = time.monotonic()
            if now_s < kept.retry_at_s:
                return kept
            pause_s = min(2 * kept.pause_s or WATCH_S, LAST_PAUSE_S)
            log.info("the meter of node %s ended, another is started: %s", node, error)
            return replace(self._start(node), pause_s=pause_s, retry_at_s=now_s + pause_s)
        return _Kept(kept.meter, kept.meter.hold.remote(self._job), held=True)

    def _start(self, node: str) -> _Kept:
        config = self._config
        meter = start_meter(self._key, node, config.interval_s, config.estimate, config.tdp_w)
        return _Kept(meter, meter.hold.remote(self._job))


def _await(answers: dict[str, Any]) -> list[Any]:
    """The answers that come; that others do not come may not stop what was metered."""
    answered, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=CLOSE_S) if answers else ([], [])
    values = []
    for who, answer in answers.items():
        try:
            if answer in answered:
                values.append(ray.get(answer))
                continue
            why = f"no answer within {CLOSE_S:.0f} s"
        except RayError as error:
            why = str(error).strip().splitlines()[-1]
        log.warning("%s did not end well; what it had not delivered is not in the ledger: %s", who, why)
    return values
