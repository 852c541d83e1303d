"""The meter of a node against devices of known power and ledgers that come and go; in real time."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Work
from collapse_ray.energy.series import Device, DeviceKind, Quality
from collapse_ray.energy.source import Reading, Source
from collapse_ray.ledger import outbox
from collapse_ray.ledger.batch import Ack, Batch, DeviceTotal, Resume
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.journal import list_segments
from collapse_ray.ledger.node_meter import NodeMeter
from collapse_ray.ledger.outbox import Outbox
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.segment import FOLDER

pytestmark = pytest.mark.slow  # real seconds of a meter

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


def test_every_joule_under_its_account_on_the_ledgers_clock() -> None:
    source, ledger = Steady(**{"gpu-0": 300.0, "gpu-1": 70.0, "cpu-0": 100.0}), Ledger()
    one = meter(source, ledger)
    time.sleep(0.5)
    begin_s = begin(one, "t")
    time.sleep(0.6)
    assert one.open_workers() == {"t": "w1"}
    end_s = end(one, "t")
    time.sleep(0.4)
    assert one.close()
    assert source.closed
    assert not one.running
    ledger.check()
    energies = ledger.energies_uj()
    for device, power_w in (("gpu-0", 300.0), ("cpu-0", 100.0)):
        assert energies[device, "train"] / 1e6 == pytest.approx(power_w * (end_s - begin_s), rel=0.05)
    assert ("gpu-1", "train") not in energies
    for uuid, total in ledger.totals().items():
        assert total.counter_uj is not None
        told_until_s = source.zero_s + total.counter_uj / source.power_w[uuid] / 1e6
        assert total.settled_unix_s == pytest.approx(told_until_s + time.time() - time.monotonic() + AHEAD_S, abs=0.1)
    train = [entry for batch in ledger.batches[1:] for entry in batch.entries if entry.key.kind == "stage"]
    assert {(entry.quality, entry.key.artifact) for entry in train} == {("counter", "f00d")}
    duration_s = sum(entry.duration_s for entry in train if entry.key.device == "gpu-0")
    assert duration_s == pytest.approx(end_s - begin_s, abs=1e-3)
    unix_s = begin_s + time.time() - time.monotonic() + AHEAD_S
    assert min(entry.begin_unix_s for entry in train) == pytest.approx(unix_s, abs=0.5)
    assert {mark.key.stage for batch in ledger.batches for mark in batch.open_marks} == {"train"}
    assert ledger.batches[-1].open_marks == ()


def test_a_ledger_that_is_away_gets_everything_in_order_later(caplog: pytest.LogCaptureFixture) -> None:
    source, ledger = Steady(**{"gpu-0": 300.0}), Ledger()
    one = meter(source, ledger)
    begin(one, "t")
    time.sleep(0.5)
    ledger.away = refuse
    time.sleep(0.5)
    ledger.away = fail
    time.sleep(0.9)
    num_taken = len(ledger.batches)
    ledger.away = None
    time.sleep(0.7)
    assert one.close()
    assert len(ledger.batches) > num_taken + 3
    ledger.check()
    total = ledger.totals()["gpu-0"]
    assert sum(ledger.energies_uj().values()) == total.settled_uj
    assert total.settled_uj == pytest.approx(300e6 * 2.6, rel=0.3)
    assert len([record for record in caplog.records if "the energy ledger is away" in record.message]) <= 1


def test_a_meter_holds_back_while_the_ledger_is_away_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_SPOOL", 3)
    source, ledger = Steady(**{"gpu-0": 300.0}), Ledger()
    ledger.away = refuse
    one = meter(source, ledger)
    begin(one, "t")
    time.sleep(2.0)
    ledger.away = None
    assert one.close()
    ledger.check()
    assert len(ledger.batches) <= 4
    assert ledger.totals()["gpu-0"].settled_uj == pytest.approx(300e6 * 2.0, rel=0.25)


def test_closing_waits_no_longer_than_it_was_told() -> None:
    ledger = Ledger()
    ledger.away = refuse
    one = meter(Steady(**{"gpu-0": 300.0}), ledger)
    time.sleep(0.5)
    before_s = time.monotonic()
    assert not one.close(timeout_s=0.5)
    assert time.monotonic() - before_s < 3


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_a_meter_that_replaces_another_loses_nothing_within_one_boot(boot_id: str) -> None:
    source, before, after = Steady(**{"gpu-0": 300.0, "cpu-0": 100.0}), Ledger(), Ledger()
    killed = meter(source, before, boot_id="boot-1")
    begin(killed, "t", cpus=1)
    time.sleep(0.8)
    killed._thread.stop(1.0)  # no settling, no delivery
    time.sleep(0.6)
    successor = meter(source, after, boot_id=boot_id, resume=before.resume())
    expected_workers = {"t": "w1"} if boot_id == "boot-1" else {}
    assert successor.open_workers() == expected_workers
    time.sleep(0.4)
    end(successor, "t")
    time.sleep(0.4)
    assert successor.close()
    assert after.batches[0].meter != before.batches[0].meter
    after.check()
    for uuid, power_w in source.power_w.items():
        first, last = before.totals()[uuid], after.totals()[uuid]
        assert first.counter_uj is not None
        assert last.counter_uj is not None
        gaps = [gap for batch in after.batches for device, gap in batch.gaps if device == uuid]
        assert [gap.reason for gap in gaps] == ["the meter was restarted"]
        assert gaps[0].bridged == (boot_id == "boot-1")
        if boot_id == "boot-1":
            assert last.settled_uj == last.counter_uj - first.counter_uj
            assert after.energies_uj()[uuid, "train"] / 1e6 > 0.9 * power_w
        else:
            assert last.settled_uj < last.counter_uj - first.counter_uj
            assert (uuid, "train") not in after.energies_uj()


def test_a_counter_that_went_back_begins_anew() -> None:
    source, before, after = Steady(**{"gpu-0": 300.0}), Ledger(), Ledger()
    killed = meter(source, before)
    time.sleep(0.6)
    killed._thread.stop(1.0)
    source.zero_s = time.monotonic()
    time.sleep(0.3)
    successor = meter(source, after, resume=before.resume())
    time.sleep(0.5)
    assert successor.close()
    settled_uj = after.totals()["gpu-0"].settled_uj
    assert 0 < settled_uj <= source.counter_uj("gpu-0", time.monotonic())
    assert [gap.bridged for batch in after.batches for _, gap in batch.gaps] == [False]


def test_gpus_that_cannot_be_read_are_unmeasured() -> None:
    source, ledger = Steady(**{"gpu-0": 300.0, "cpu-0": 100.0}), Ledger()
    source.lost = {"gpu-0"}
    one = meter(source, ledger)
    begin_s = begin(one, "t", gpus=("gpu-0", "MIG-7"))
    time.sleep(0.5)
    end_s = end(one, "t")
    assert one.close()
    entries = [entry for batch in ledger.batches for entry in batch.entries if entry.key.kind == "stage"]
    for uuid in ("gpu-0", "MIG-7"):
        (entry,) = [entry for entry in entries if entry.key.device == uuid]
        assert (entry.quality, entry.rule, entry.energy_uj) == ("unmeasured", None, None)
        assert entry.duration_s == pytest.approx(end_s - begin_s, abs=0.01)
        assert (ledger.totals()[uuid].settled_uj, ledger.totals()[uuid].counter_uj) == (0, None)
    assert ledger.energies_uj()["cpu-0", "train"] > 0
    assert [(uuid, gap.reason, gap.bridged) for batch in ledger.batches for uuid, gap in batch.gaps] == [
        ("gpu-0", "lost", False)
    ]


def test_cpus_go_by_what_was_declared() -> None:
    source, ledger = Steady(**{"cpu-0": 100.0}), Ledger()
    one = meter(source, ledger)
    num_cpus = os.cpu_count() or 1
    begin(one, "a", TRAIN, cpus=0.25 * num_cpus, worker="w1", gpus=())
    begin(one, "b", EVALUATE, cpus=0.75 * num_cpus, worker="w2", gpus=())
    time.sleep(0.8)
    assert one.close()
    energies = ledger.energies_uj()
    assert energies["cpu-0", "evaluate"] / energies["cpu-0", "train"] == pytest.approx(3, rel=0.1)
    rules = {entry.rule for batch in ledger.batches for entry in batch.entries if entry.key.stage == "evaluate"}
    assert "declared_fraction" in rules


def test_marks_that_are_wrong_are_refused_and_repeated_ones_ignored() -> None:
    ledger = Ledger()
    one = meter(Steady(**{"gpu-0": 300.0}), ledger)
    with pytest.raises(ValueError, match="share is 3"):
        begin(one, "t", share=3)
    with pytest.raises(ValueError, match="kind is 'idle'"):
        begin(one, "t", Work("idle"))
    begin(one, "t")
    begin(one, "t", EVALUATE)
    time.sleep(0.3)
    end(one, "t")
    end(one, "t")
    end(one, "never begun")
    assert one.close()
    assert {stage for _, stage in ledger.energies_uj()} == {"train", "idle"}


def test_a_failing_meter_says_so_and_tells_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    source, ledger = Steady(**{"gpu-0": 300.0}), Ledger()
    one = meter(source, ledger)
    time.sleep(0.5)
    assert one.running
    del source.power_w["gpu-0"]
    time.sleep(0.5)
    assert not one.running
    assert "the energy meter failed" in caplog.text
    assert one.close()
    ledger.check()
    assert ledger.totals()["gpu-0"].settled_uj > 0


def batch(number: int) -> Batch:
    return Batch("meter", "node", number, (), (), ())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert condition()


def test_batches_that_a_ledger_lost_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RESEND_S", 0.4)
    ledger = Ledger()
    ledger.durable = 2
    box = Outbox(ledger.submit)
    for number in range(1, 5):
        box.put(batch(number))
    wait_for(lambda: len(ledger.batches) == 4)
    ledger.batches = ledger.batches[:2]  # another ledger, which has what is durable
    box.put(batch(5))
    wait_for(lambda: [one.number for one in ledger.batches] == [1, 2, 3, 4, 5])
    ledger.durable = None
    wait_for(lambda: not box._spool)
    assert box.close(1.0)


def test_a_meter_whose_ledger_lost_what_was_durable_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The meter after it goes on from what the store knows, and the counter still tells what was lost."""
    monkeypatch.setattr(outbox, "FORGOTTEN_S", 0.4)
    monkeypatch.setattr(outbox, "RESEND_S", 0.2)
    store, source = Store(str(tmp_path)), Steady(**{"gpu-0": 300.0})
    books, lock = [Book(store)], threading.Lock()

    def submit(batch: Batch) -> Ack:
        with lock:
            ack = books[-1].submit(batch)
            books[-1].flush()
            return ack

    first = NodeMeter("node", submit, meter="first", sources=[source], interval_s=0.1, estimate=False)
    first.start()
    wait_for(lambda: len(list_segments(store)) == 3)
    saved = set(list_segments(store))
    wait_for(lambda: len(list_segments(store)) > 5)
    with lock:
        for name in set(list_segments(store)) - saved:
            store.delete_folder(f"{FOLDER}/{name}")
        books.append(Book(store))
    wait_for(lambda: not first.running)
    assert "does not know batches of the meter first any more" in caplog.text
    assert not first.close()
    resume = books[-1].resume("node", "second")
    second = NodeMeter("node", submit, meter="second", sources=[source], resume=resume, interval_s=0.1)
    second.start()
    time.sleep(0.3)
    assert second.close()
    books[-1].flush()
    assert check(store) == []
    told = read_ledger(store).entries.to_pandas()
    assert set(told["quality"]) == {"counter"}
    duration_s = told["end_unix_s"].max() - told["begin_unix_s"].min()
    assert told["energy_uj"].sum() == pytest.approx(300e6 * duration_s, rel=0.02)


def test_what_is_not_durable_goes_out_once_more_at_the_end() -> None:
    ledger = Ledger()
    ledger.durable = 1
    box = Outbox(ledger.submit)
    for number in range(1, 4):
        box.put(batch(number))
    wait_for(lambda: len(ledger.batches) == 3)
    ledger.batches = ledger.batches[:1]
    assert box.close(2.0)
    assert [one.number for one in ledger.batches] == [1, 2, 3]


def test_the_ledgers_clock_is_the_newest_ledgers() -> None:
    ledger = Ledger()
    box = Outbox(ledger.submit)
    unix_s = time.time() - time.monotonic()
    assert box.ledger_offset_s() == pytest.approx(unix_s, abs=0.01)
    box.put(batch(1))
    wait_for(lambda: len(ledger.calls) == 1 and not box._spool)
    assert box.ledger_offset_s() == pytest.approx(unix_s + AHEAD_S, abs=0.05)
    ledger.away = lambda batch: Ack(batch.number, time.time() - 77.0)
    box.put(batch(2))
    wait_for(lambda: len(ledger.calls) == 2 and not box._spool)
    assert box.ledger_offset_s() == pytest.approx(unix_s - 77.0, abs=0.05)
    assert box.close(1.0)
