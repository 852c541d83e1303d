"""Who else is at work on the GPUs of a node: SM time by process, where the driver tells it.

GPUs are looked at rarely, and once a second while they are shared: with a process that is not ours, or by several
workers. Where a process is seen that cannot be named (one of another PID namespace may be our own), nothing is said.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collapse_ray.energy.marks import Mark, Usage
from collapse_ray.energy.source import ProcessSource

FOREIGN = "foreign"
"""Names all processes that are not ours in `Usage.sm_shares`."""
LOOK_S = 10.0
"""A process that is not ours is noticed within this time."""
SHARED_S = 1.0
"""Time between looks at a GPU that is shared."""
KEPT_S = 90.0


@dataclass
class _Gpu:
    seen_s: float
    shared: bool = False
    tells: bool = True
    usage: deque[Usage] = field(default_factory=deque)


class ForeignWatch:
    """Gathers what processes do on GPUs.

    Args:
        source: What tells SM time.
        names: Names of a process and of its ancestors, as marks name workers; empty where they cannot be known.
    """

    def __init__(self, source: ProcessSource, names: Callable[[int], Sequence[str]]) -> None:
        self._source = source
        self._names = names
        self._gpus: dict[str, _Gpu] = {}
        self._ours: set[str] = set()

    def know(self, worker: str) -> None:
        """A mark named this worker: it is ours, and so are its children."""
        self._ours.add(worker)

    def look(self, now_s: float, gpus: Collection[str], shared: Collection[str]) -> Mapping[str, Sequence[Usage]]:
        """Looks where it is time to; what is known of the last minute, by UUID of those GPUs where it tells something.

        Args:
            now_s: Monotonic time in seconds.
            gpus: UUIDs of those that can be read.
            shared: UUIDs of those that several workers have marks on.
        """
        for uuid in gpus:
            gpu = self._gpus.setdefault(uuid, _Gpu(now_s - LOOK_S))
            every_s = SHARED_S if gpu.shared or uuid in shared else LOOK_S
            if gpu.tells and now_s - gpu.seen_s > 0.9 * every_s:
                self._look_at(uuid, gpu, now_s, uuid in shared)
        return {uuid: gpu.usage for uuid, gpu in self._gpus.items() if gpu.usage}

    def _look_at(self, uuid: str, gpu: _Gpu, now_s: float, by_workers: bool) -> None:
        since_s = gpu.seen_s if gpu.shared else now_s - SHARED_S
        by_pid = self._source.sm_shares(uuid, now_s - since_s)
        by_name = self._by_name(by_pid or {})
        gpu.tells = by_pid is not None
        gpu.shared = by_workers or by_name.get(FOREIGN, 0.0) > 0
        gpu.seen_s = now_s
        if gpu.shared and by_name:
            gpu.usage.append(Usage(uuid, since_s, now_s, by_name))
        while gpu.usage and gpu.usage[0].end_s < now_s - KEPT_S:
            gpu.usage.popleft()

    def _by_name(self, by_pid: Mapping[int, float]) -> dict[str, float]:
        shares: dict[str, float] = {}
        for pid, share in by_pid.items():
            names = self._names(pid)
            if not names:
                return {}
            name = next((name for name in names if name in self._ours), FOREIGN)
            shares[name] = shares.get(name, 0.0) + share
        return shares


def at_marks(usage: Sequence[Usage], marks: Sequence[Mark]) -> Iterator[Usage]:
    """Usage with that of workers cut to their marks: around a mark, a sample of a second does not make it foreign."""
    for one in usage:
        if FOREIGN in one.sm_shares:
            yield Usage(one.device, one.begin_s, one.end_s, {FOREIGN: one.sm_shares[FOREIGN]})
        for worker in one.sm_shares.keys() - {FOREIGN}:
            end_s = one.begin_s
            for mark in sorted((mark for mark in marks if mark.worker == worker), key=lambda mark: mark.begin_s):
                begin_s, end_s = max(end_s, mark.begin_s), max(end_s, min(one.end_s, mark.end_s))
                if begin_s < end_s:
                    yield Usage(one.device, begin_s, end_s, {worker: one.sm_shares[worker]})
