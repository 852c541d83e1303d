"""The meter of a node against devices of known power and ledgers that come and go; in real time."""

import os
import threading
import time
from pathlib import Path

import pytest
from steady_meter import AHEAD_S, EVALUATE, TRAIN, Ledger, Steady, begin, end, fail, meter, refuse, wait_for

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Work
from collapse_ray.ledger import outbox
from collapse_ray.ledger.batch import Ack, Batch
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.journal import list_segments
from collapse_ray.ledger.node_meter import NodeMeter
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.segment import FOLDER

pytestmark = pytest.mark.slow  # real seconds of a meter


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
