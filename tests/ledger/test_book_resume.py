"""A meter goes on where the one before it was counted to, and what that one sends afterwards is not counted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from batches import batch_of, batches, bits, device_of, work_on
from fragile_store import FragileStore
from ledger_books import NOW, book_on, counted, looked_before

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Mark
from collapse_ray.ledger.batch import Ack, DeviceTotal, Resume
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check


def test_resume_makes_durable_what_it_tells(store: Store) -> None:
    book = book_on(store)
    for batch in batches("m", range(1, 4)):
        book.submit(batch)
    told = book.resume("node")
    assert told == Resume(batch_of("m", 3).totals, batch_of("m", 3).open_marks)
    assert counted(store) == {"m": bits(range(1, 4))}
    assert book_on(store).resume("node") == told
    assert book.resume("other") == Resume((), ())


def test_resume_tells_the_newest_of_all_meters_of_a_node(store: Store) -> None:
    clock = iter(range(100))
    first = Book(store, clock=lambda: float(next(clock)))
    lost = DeviceTotal(replace(device_of("node"), uuid="GPU-2"), 7, None, "boot", 1.0)
    first.submit(replace(batch_of("a", 1), totals=(*batch_of("a", 1).totals, lost)))
    first.flush()
    first.submit(batch_of("other", 1, node="elsewhere"))
    first.submit(batch_of("b", 1))
    first.submit(replace(batch_of("b", 2), open_marks=()))
    first.flush()
    for book in (first, Book(store, clock=lambda: 200.0)):
        told = book.resume("node")
        assert set(told.totals) == {lost, *batch_of("b", 2).totals}
        assert told.open_marks == ()


def test_what_an_old_meter_sends_after_the_take_over_is_not_counted(store: Store) -> None:
    book = book_on(store)
    for batch in batches("old", range(1, 4)):
        book.submit(batch)
    assert book.resume("node", "new").totals == batch_of("old", 3).totals
    for ledger in (book, book_on(store)):
        assert ledger.submit(batch_of("old", 4)) == Ack(4, NOW)  # forget it: the new meter counts it
        assert ledger.submit(batch_of("bystander", 1, node="elsewhere")).durable in (0, 1)
        ledger.submit(batch_of("new", 1))
        ledger.flush()
    assert counted(store) == {"old": bits(range(1, 4)), "new": bits([1]), "bystander": bits([1])}
    assert check(store) == []


def test_a_meter_does_not_end_itself(store: Store) -> None:
    book = book_on(store)
    book.submit(batch_of("m", 1))
    book.resume("node", "m")
    book.submit(batch_of("m", 2))
    book.flush()
    assert counted(store) == {"m": bits([1, 2])}


@pytest.mark.parametrize("looked", ["before", "after"])
def test_what_a_hung_ledger_writes_of_an_old_meter_is_not_counted(store: Store, looked: str) -> None:
    hung = book_on(store)
    for batch in batches("old", range(1, 3)):
        hung.submit(batch)
    hung.flush()
    hung.submit(batch_of("old", 3))
    fresh = book_on(store)
    assert fresh.resume("node", "new").totals == batch_of("old", 2).totals
    fresh.submit(batch_of("new", 1))
    if looked == "before":
        looked_before(hung)
    hung.flush()
    assert len(store.list_documents("ledger")) == (3 if looked == "before" else 2)
    fresh.flush()
    assert counted(store) == {"old": bits([1, 2]), "new": bits([1])}
    assert check(store) == []
    fresh.compact(least=2)
    hung.compact(least=2)
    assert counted(store) == {"old": bits([1, 2]), "new": bits([1])}
    assert check(store) == []


def test_what_was_dropped_is_not_told(store: Store) -> None:
    """A ledger takes from a meter that another one has closed: the next meter must not go on from there."""
    one, two = book_on(store), book_on(store)
    one.submit(batch_of("old", 1))
    one.flush()
    two.flush()
    one.resume("node", "new")
    two.submit(batch_of("old", 2))
    told = two.resume("node", "newest")
    assert told == Resume(batch_of("old", 1).totals, batch_of("old", 1).open_marks)
    assert counted(store) == {"old": bits([1])}


def test_marks_that_go_on_survive_their_ledger(store: Store) -> None:
    book = book_on(store)
    open_marks = (Mark(work_on("node", "GPU-node", 0), 1.0), Mark(work_on("node", "GPU-node", 1), 2.0, share=0.5))
    book.submit(replace(batch_of("m", 1), open_marks=open_marks))
    book.close()
    again = book_on(store)
    assert again.resume("node").open_marks == open_marks
    again.submit(replace(batch_of("m", 2), open_marks=()))
    assert again.resume("node").open_marks == ()


def test_a_ledger_with_a_slower_clock_goes_on(store: Store) -> None:
    ahead, behind = Book(store, clock=lambda: 200.0), Book(store, clock=lambda: 100.0)
    ahead.submit(batch_of("m", 1))
    ahead.flush()
    behind.flush()
    behind.submit(batch_of("m", 2))
    assert behind.resume("node") == Resume(batch_of("m", 2).totals, batch_of("m", 2).open_marks)
    assert Book(store, clock=lambda: 100.0).resume("node") == behind.resume("node")


def test_meters_that_start_at_once_share_segments(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    book = book_on(store)
    first, others = threading.Event(), threading.Event()

    def slow() -> None:
        first.set()
        others.wait()

    store.steps_left, store.happens = 2, slow  # the first is about to write
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(book.resume, "node-0", "m-0")]
        first.wait()
        answers += [pool.submit(book.resume, f"node-{number}", f"m-{number}") for number in range(1, 9)]
        while len(book._successors) < 8:
            time.sleep(0.001)
        others.set()
        assert [answer.result() for answer in answers] == [Resume((), ())] * 9
    assert len(store.list_documents("ledger")) == 2


def test_a_meter_that_told_nothing_is_closed_too(store: Store) -> None:
    """What the hung ledger has of it is told by nobody, and the meter after it goes on from the one before."""
    hung = book_on(store)
    hung.submit(batch_of("first", 1))
    hung.resume("node", "second")
    fresh = book_on(store)
    hung.submit(batch_of("second", 1))
    assert fresh.resume("node", "third").totals == batch_of("first", 1).totals
    hung.flush()
    assert counted(store) == {"first": bits([1])}
