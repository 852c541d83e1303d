"""The meter of one node: reads its devices, takes marks from its workers, and tells the ledger what each joule was for.

No Ray: an actor wraps it, and tests run it as it is.
"""

import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from collapse_ray.energy.accumulate import Before
from collapse_ray.energy.foreign import ForeignWatch
from collapse_ray.energy.marks import Mark, Usage, Work
from collapse_ray.energy.processes import with_ancestors
from collapse_ray.energy.rapl import WRAP_S
from collapse_ray.energy.reading_thread import ReadingThread
from collapse_ray.energy.sampler import Sampler
from collapse_ray.energy.series import Device
from collapse_ray.energy.settle import GRACE_S, Settler
from collapse_ray.energy.source import ProcessSource, Source
from collapse_ray.energy.sources import find_sources
from collapse_ray.ledger.batch import Ack, Batch, DeviceTotal, Resume
from collapse_ray.ledger.batcher import Batcher
from collapse_ray.ledger.outbox import Outbox

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CLOSE_S = 5.0
"""Reads that close the last marks, and the ledger's answers, are waited for no longer than this each."""
_READ_S = 0.05
"""Reads that are due at a full second are done by then."""
_FORGET_EVERY = 32

_log = logging.getLogger(__name__)


class LedgerForgot(RuntimeError):
    """What was acknowledged as durable is gone from the store, so that this meter's numbers have a hole for good."""


class NodeMeter:
    """Meters one node; `start` it, and `close` it at the end.

    Args:
        node: Name of the node.
        submit: Hands a batch to the ledger and returns its answer; None, or an exception, says that the ledger is away.
            Called from one thread, in order.
        meter: Name of this life of this meter; default: a new one.
        resume: What the meter of this node before this one reported.
        interval_s: Time between reads away from marks, and between batches.
        estimate: Where no CPU sensor can be read, estimate CPUs from their utilisation.
        tdp_w: Thermal design power of all CPUs for the estimate; default: 4 W per logical core.
        sources: Where devices come from, instead of finding them.
        grace_s: How long marks may take from their worker to here; later ones may find their time told.
        names: Names of the process of an identifier and of its ancestors, as marks name workers: GPUs that are shared
            go by SM time where the driver tells it, and what is not ours is `foreign`.
        boot_id: Of the node; default: as the kernel says.
    """

    def __init__(
        self,
        node: str,
        submit: Callable[[Batch], Ack | None],
        *,
        meter: str | None = None,
        resume: Resume | None = None,
        interval_s: float = 1.0,
        estimate: bool = True,
        tdp_w: float | None = None,
        sources: Sequence[Source] | None = None,
        grace_s: float = GRACE_S,
        names: Callable[[int], Sequence[str]] = with_ancestors,
        boot_id: str | None = None,
    ) -> None:
        self.node = node
        self.meter = meter or f"{node}-{uuid.uuid4().hex[:12]}"
        self._interval_s = interval_s
        self._wait_s = grace_s + _READ_S
        self._due_s = 0.0
        self._num_settled = 0
        boot_id = boot_id or BOOT_ID.read_text().strip()
        totals = [] if resume is None else list(resume.totals)
        known_uj = _wrapping_counters(totals, boot_id)
        self._sources = (
            find_sources(node, estimate=estimate, tdp_w=tdp_w, known_uj=known_uj) if sources is None else list(sources)
        )
        before = {total.device.uuid: _before(total, boot_id) for total in totals}
        self._sampler = Sampler(self._sources, interval_s, before=before)
        self._settler = Settler(node, grace_s)
        self._batcher = Batcher(self.meter, node, boot_id)
        self._outbox = Outbox(submit)
        self._watches = [ForeignWatch(one, names) for one in self._sources if isinstance(one, ProcessSource)]
        self._inbox: deque[Callable[[], None]] = deque()
        self._open: dict[str, tuple[Mark, ...]] = {}  # by token; as the ledger keeps them
        self._thread = ReadingThread(self._sampler, self._after_reads, interval_s)
        if resume is not None and all(total.boot_id == boot_id for total in totals):
            self._adopt(resume.open_marks)

    @property
    def absences(self) -> list[str]:
        """Why devices are missing, one sentence per source."""
        return [source.absence for source in self._sources if source.absence is not None]

    @property
    def devices(self) -> list[Device]:
        """What can, or could, be read."""
        return self._sampler.devices()

    @property
    def running(self) -> bool:
        """False before the start, after the end, and after a failure, which is logged: then nothing is metered."""
        return self._thread.running

    @property
    def cpu_s(self) -> float:
        """CPU time that reading, settling and making batches has taken."""
        return self._thread.cpu_s

    def open_workers(self) -> dict[str, str | None]:
        """Which worker holds which token; those of the meter before this one included."""
        with self._thread.lock:
            return {token: _unsigned(marks[0])[0].worker for token, marks in self._open.items() if marks}

    def start(self) -> None:
        """Reads every device once, and goes on doing so in a thread."""
        self._sampler.step()  # counters are known before the first mark
        self._sampler.mark()  # and soon the length of their ticks
        self._thread.start()

    def begin(
        self,
        token: str,
        work: Work,
        *,
        gpus: Sequence[str] = (),
        share: float | None = None,
        cpus: float | None = None,
        worker: str,
        time_s: float,
    ) -> None:
        """Work begins: on the CPUs and the memory of the node, and on the GPUs that are named. Never waits.

        A token that is open is ignored, so that marks may be sent again.

        Args:
            token: Names the work until its end, also at a meter that replaces this one; without spaces.
            work: What it is.
            gpus: UUIDs.
            share: Declared share of each GPU in (0, 1]; None claims it all.
            cpus: Declared CPUs; works that overlap share the CPUs by this where each says it, else equally.
            worker: The process that does the work.
            time_s: Monotonic time of this node when it began.
        """
        time_s = min(time_s, time.monotonic())
        cpu_share = None if cpus is None else min(1.0, max(cpus, 0.01) / (os.cpu_count() or 1))
        shares = dict.fromkeys(self._cpu_uuids(), cpu_share) | dict.fromkeys(gpus, share)
        marks = [
            Mark(work.on(self.node, device), time_s, share=device_share, worker=worker)
            for device, device_share in shares.items()
        ]
        self._inbox.append(lambda: self._begin(token, marks))
        self._thread.mark(time_s, shares)

    def end(self, token: str, time_s: float) -> None:
        """Work ends. Never waits; an unknown token is ignored, as one that ended twice."""
        time_s = min(time_s, time.monotonic())
        self._inbox.append(lambda: self._end(token, time_s))
        marks = self._open.get(token, ())
        self._thread.mark(time_s, {mark.key.device for mark in marks} or None)

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Settles and delivers what is left; says whether the ledger has taken all of it. Open work stays open."""
        self._thread.settle(self._thread.mark(), timeout_s)
        self._thread.stop(timeout_s)
        if self._thread.running:
            _log.warning("a device does not answer; what it used lately is not told")
        else:
            with self._thread.lock:
                self._settle(time.monotonic(), final=True)
        taken = self._outbox.close(timeout_s)
        for source in self._sources:
            source.close()
        return taken

    def _cpu_uuids(self) -> list[str]:
        return [device.uuid for device in self._sampler.devices() if device.kind != "gpu"]

    def _begin(self, token: str, marks: Sequence[Mark]) -> None:
        for watch in self._watches:
            for worker in {mark.worker for mark in marks if mark.worker is not None}:
                watch.know(worker)
        self._settler.begin(token, marks)
        self._open.setdefault(token, tuple(_signed(mark, token) for mark in marks))

    def _end(self, token: str, time_s: float) -> None:
        self._settler.end(token, time_s)
        self._open.pop(token, None)

    def _adopt(self, marks: Sequence[Mark]) -> None:
        """Work that began at the meter before this one goes on."""
        by_token: dict[str, list[Mark]] = {}
        for mark, token in map(_unsigned, marks):
            by_token.setdefault(token, []).append(mark)
        for token, same in by_token.items():
            self._begin(token, same)

    def _after_reads(self) -> float:
        """In the thread, after each step of the sampler; says when the next batch is due."""
        while self._inbox:
            self._inbox.popleft()()
        now_s = time.monotonic()
        if self._outbox.forgotten:
            raise LedgerForgot(
                f"the ledger does not know batches of the meter {self.meter} any more that it had acknowledged as "
                "durable: ledger/ in its store was deleted or set back. It will take nothing more of this meter; start "
                "another, which goes on from what the store knows"
            )
        if now_s >= self._due_s:
            self._settle(now_s)
            full_s = (now_s - self._wait_s) // self._interval_s
            self._due_s = (full_s + 1) * self._interval_s + self._wait_s
        return self._due_s

    def _settle(self, now_s: float, final: bool = False) -> None:
        while self._inbox:
            self._inbox.popleft()()
        sampler, settler = self._sampler, self._settler
        usage: dict[str, Sequence[Usage]] = {}
        for watch in self._watches:
            gpus = [device.uuid for device in sampler.devices() if device.kind == "gpu"]
            usage |= watch.look(now_s, gpus, settler.shared)
        self._batcher.add(settler.settle(now_s, sampler.series(), sampler.open_gaps(), usage, final))
        self._num_settled += 1
        if self._num_settled % _FORGET_EVERY == 0:
            sampler.forget(settler.needed_from_s())
        if final or not self._outbox.full:
            marks = tuple(chain.from_iterable(self._open.values()))
            batch = self._batcher.make(marks, self._outbox.ledger_offset_s())
            if batch is not None:
                self._outbox.put(batch)


def _signed(mark: Mark, token: str) -> Mark:
    """The mark with its token beside its worker, so that whoever takes it over can end it."""
    return replace(mark, worker=f"{mark.worker} {token}")


def _unsigned(mark: Mark) -> tuple[Mark, str]:
    worker, _, token = (mark.worker or "").rpartition(" ")
    return replace(mark, worker=worker or None), token


def _before(total: DeviceTotal, boot_id: str) -> Before:
    """Where the series of the meter before ended: a counter goes on within one boot, and as long as it cannot wrap."""
    age_s = max(0.0, time.time() - total.settled_unix_s)
    wrapped = total.device.kind != "gpu" and age_s > WRAP_S
    same = total.boot_id == boot_id
    # The monotonic clock starts at the boot.
    time_s = time.monotonic() - age_s
    return Before(time_s if same else max(time_s, 0.0), total.counter_uj if same and not wrapped else None)


def _wrapping_counters(totals: Sequence[DeviceTotal], boot_id: str) -> dict[str, int]:
    """Counters of CPUs and memory that are continued, by UUID."""
    before = {total.device.uuid: _before(total, boot_id) for total in totals if total.device.kind != "gpu"}
    return {uuid: one.counter_uj for uuid, one in before.items() if one.counter_uj is not None}
