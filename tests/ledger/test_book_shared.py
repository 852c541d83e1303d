"""Several ledgers on one store count once what each of them was sent."""

import tempfile
from pathlib import Path

import pytest
from batches import batch_of, batches, bits
from fragile_store import FragileStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_books import NOW, book_on, counted, looked_before
from pyarrow import fs

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.batch import Ack
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check


def test_two_ledgers_count_what_both_were_sent_once(store: Store) -> None:
    old, new = book_on(store), book_on(store)
    for book in (old, new):
        for batch in batches("m", range(1, 4)):
            book.submit(batch)
    old.flush()
    new.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert new.submit(batch_of("m", 4)) == Ack(3, NOW)


def test_a_ledger_drops_what_another_has_a_part_of(store: Store) -> None:
    """What is summed up cannot be taken apart; it was not acknowledged, so it comes again."""
    ahead, behind = book_on(store), book_on(store)
    for batch in batches("m", range(1, 6)):
        behind.submit(batch)
    for batch in batches("m", range(1, 4)):
        ahead.submit(batch)
    ahead.flush()
    behind.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert behind.submit(batch_of("m", 6)) == Ack(3, NOW)
    assert behind.resume("node").totals == batch_of("m", 3).totals
    for batch in batches("m", range(4, 7)):
        behind.submit(batch)
    behind.flush()
    assert counted(store) == {"m": bits(range(1, 7))}


def entangled(store: Store) -> tuple[Book, Book]:
    """Two ledgers that both wrote batch 2 and 3; batch 1 and, up to 5, more are in segments of the second alone."""
    one, two = book_on(store), book_on(store)
    two.submit(batch_of("m", 1))
    two.flush()
    one.flush()
    for batch in batches("m", range(2, 6)):
        two.submit(batch)
    for batch in batches("m", range(2, 4)):
        one.submit(batch)
    one.flush()
    for batch in batches("m", range(4, 7)):
        one.submit(batch)
    looked_before(two)
    return one, two


def test_a_ledger_looks_again_before_it_acknowledges(store: Store) -> None:
    one, two = entangled(store)
    two.flush()
    two.compact(least=2)  # 1 to 5 in one piece
    looked_before(one)
    one.flush()  # 4 to 6, which fits to nothing that is left
    assert one.submit(batch_of("m", 7)) == Ack(5, NOW)
    assert counted(store) == {"m": bits(range(1, 6))}
    for number in (6, 7):
        one.submit(batch_of("m", number))
    one.flush()
    assert counted(store) == {"m": bits(range(1, 8))}
    assert check(store) == []


def test_a_ledger_does_not_merge_what_another_builds_upon(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    one, two = entangled(store)
    two.flush()

    def writes() -> None:
        looked_before(one)
        one.flush()

    store.steps_left, store.happens = 2, writes  # before the merged segment is written
    assert not two.compact(least=2)
    assert one.submit(batch_of("m", 7)) == Ack(6, NOW)
    assert counted(store) == {"m": bits(range(1, 7))}
    assert two.compact(least=2)
    assert counted(store) == {"m": bits(range(1, 7))}
    assert check(store) == []


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.booleans()), max_size=12))
def test_two_ledgers_that_do_not_see_each_other(steps: list[tuple[int, int, bool]]) -> None:
    """As on a file system that lists late: each sends to one of two ledgers what the meter was not told to forget."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.on(fs.SubTreeFileSystem(folder, fs.LocalFileSystem()), "store")
        books = (book_on(store), book_on(store))
        for book in books:
            book._journal.refresh = list
        durable = made = 0
        for which, more, flushes in steps:
            made += more
            for number in range(durable + 1, made + 1):
                durable = max(durable, books[which].submit(batch_of("m", number)).durable)
            if flushes:
                books[which].flush()
                durable = max(durable, books[which].submit(batch_of("m", 1)).durable)
        sums = counted(store).get("m", 0)
        assert sums == bits(range(1, sums.bit_length() + 1))
        assert sums.bit_length() >= durable
        assert check(store) == []
