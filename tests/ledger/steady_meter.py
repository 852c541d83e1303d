"""A meter of devices of constant power, and a ledger that may go away; in real time."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from collapse_ray.energy.marks import Work
from collapse_ray.energy.series import Device, DeviceKind, Quality
from collapse_ray.energy.source import Reading, Source
from collapse_ray.ledger.batch import Ack, Batch, DeviceTotal, Resume
from collapse_ray.ledger.node_meter import NodeMeter

AHEAD_S = 5_000.0
"""The ledger's clock before Unix time."""
TRAIN = Work("stage", "sweep", "a", 1, "train", artifact="f00d")
EVALUATE = Work("stage", "sweep", "b", 1, "evaluate")


class Steady:
    """Devices of constant power whose counters are always current, and can be set back or lost."""

    quality: Quality = "counter"
    ticks = False
    absence: str | None = None

    def __init__(self, **power_w: float) -> None:
        self.power_w = power_w
        self.zero_s = time.monotonic() - 100.0
        self.lost: set[str] = set()
        self.closed = False

    def devices(self) -> list[Device]:
        kinds: dict[str, DeviceKind] = {uuid: "gpu" if uuid.startswith("gpu") else "cpu" for uuid in self.power_w}
        return [Device(uuid, uuid.upper(), kind, "node") for uuid, kind in kinds.items()]

    def counter_uj(self, uuid: str, time_s: float) -> int:
        return round((time_s - self.zero_s) * self.power_w[uuid] * 1e6)

    def read(self, uuid: str) -> Reading:
        time_s = time.monotonic()
        return Reading(time_s, fault="lost") if uuid in self.lost else Reading(time_s, self.counter_uj(uuid, time_s))

    def counter(self, uuid: str) -> tuple[float, int | None]:
        reading = self.read(uuid)
        return reading.time_s, reading.counter_uj

    def close(self) -> None:
        self.closed = True


class Ledger:
    """Takes every batch that comes, once; what it acknowledges is durable."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.calls: list[int] = []
        self.away: Callable[[Batch], Ack | None] | None = None
        self.durable: int | None = None  # None: all that was taken

    def submit(self, batch: Batch) -> Ack | None:
        self.calls.append(batch.number)
        if self.away is not None:
            return self.away(batch)
        if batch.number == len(self.batches) + 1:
            self.batches.append(batch)
        taken = len(self.batches)
        return Ack(taken if self.durable is None else min(self.durable, taken), time.time() + AHEAD_S)

    def energies_uj(self) -> dict[tuple[str, str], int]:
        """By device, and stage or kind."""
        sums: dict[tuple[str, str], int] = defaultdict(int)
        for entry in (entry for batch in self.batches for entry in batch.entries):
            sums[entry.key.device, entry.key.stage or entry.key.kind] += entry.energy_uj or 0
        return dict(sums)

    def totals(self) -> dict[str, DeviceTotal]:
        """The last of each device."""
        return {total.device.uuid: total for batch in self.batches for total in batch.totals}

    def resume(self) -> Resume:
        """On the clock that a meter of the same node compares it with: its own, here."""
        totals = [replace(total, settled_unix_s=total.settled_unix_s - AHEAD_S) for total in self.totals().values()]
        return Resume(tuple(totals), self.batches[-1].open_marks)

    def check(self) -> None:
        """Entries sum to what the meter says it settled; numbers have no holes."""
        sums: dict[str, int] = defaultdict(int)
        for batch in self.batches:
            for entry in batch.entries:
                sums[entry.key.device] += entry.energy_uj or 0
            for total in batch.totals:
                assert total.settled_uj == sums[total.device.uuid]
        assert [batch.number for batch in self.batches] == list(range(1, len(self.batches) + 1))
        assert len({batch.meter for batch in self.batches}) == 1


def refuse(_: Batch) -> None:
    return None


def fail(_: Batch) -> None:
    raise ConnectionError("the ledger's node is gone")


def meter(source: Source, ledger: Ledger, **options) -> NodeMeter:
    made = NodeMeter("node", ledger.submit, sources=[source], interval_s=0.2, **options)
    made.start()
    return made


def begin(one: NodeMeter, token: str, work: Work = TRAIN, **options) -> float:
    time_s = time.monotonic()
    one.begin(token, work, **({"gpus": ("gpu-0",), "worker": "w1"} | options), time_s=time_s)
    return time_s


def end(one: NodeMeter, token: str) -> float:
    time_s = time.monotonic()
    one.end(token, time_s)
    return time_s


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert condition()
