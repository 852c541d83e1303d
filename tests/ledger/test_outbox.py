"""Batches reach a ledger that lost some of them, and its clock is the newest ledger's; in real time."""

import time

import pytest
from steady_meter import AHEAD_S, Ledger, wait_for

from collapse_ray.ledger import outbox
from collapse_ray.ledger.batch import Ack, Batch
from collapse_ray.ledger.outbox import Outbox

pytestmark = pytest.mark.slow  # real seconds of an outbox


def batch(number: int) -> Batch:
    return Batch("meter", "node", number, (), (), ())


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
