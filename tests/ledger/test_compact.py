"""Many segments become one: nothing is lost, nothing doubled, at whatever step it ends."""

from dataclasses import replace
from pathlib import Path

import pytest
from batches import BEGIN_UNIX_S, batch_of, batches, bits
from fragile_store import Crash, FragileStore

from collapse_ray.artifact.store import Store
from collapse_ray.ledger import compact as compaction
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.journal import SILENT_S, list_segments, read_segments
from collapse_ray.ledger.query import read_ledger

NOW = 5e6


def book_at(store: Store, now: float = NOW) -> Book:
    return Book(store, clock=lambda: now)


def one_each(book: Book, numbers: range, meter: str = "m") -> None:
    """A segment for each batch."""
    for batch in batches(meter, numbers):
        book.submit(batch)
        book.flush()


def counted(store: Store, meter: str = "m") -> int | None:
    return read_ledger(store).energy_of_artifacts()[meter][0]


@pytest.mark.slow
def test_rows_of_one_account_and_hour_are_merged(store: Store) -> None:
    """Of batches every 100 s from 1,000,100 s on, 1 to 7 begin before 1,000,800 s, which is 278 h."""
    book = book_at(store)
    for number in range(1, 15):
        book.submit(batch_of("m", number, step_s=100.0))
        book.flush()
    assert book.compact(least=2)
    table = read_ledger(store).entries.to_pandas()
    measured = table[table["quality"] == "counter"].sort_values("energy_uj")
    columns = ["energy_uj", "duration_s", "begin_unix_s", "end_unix_s"]
    # Stages and generations repeat after 6 batches: 1 and 7 are one account, and so are 8 and 14.
    expected = [[number] for number in range(2, 7)] + [[1, 7]] + [[number] for number in range(9, 14)] + [[8, 14]]
    assert list(measured[columns].itertuples(index=False, name=None)) == [
        (bits(of), 100.0 * len(of), BEGIN_UNIX_S + 100 * of[0], BEGIN_UNIX_S + 100 * (of[-1] + 1)) for of in expected
    ]
    unread = table[table["quality"] == "unmeasured"]
    assert unread["duration_s"].tolist() == [700.0, 700.0]


def test_nothing_to_merge(store: Store) -> None:
    book = book_at(store)
    assert not book.compact(least=2)
    one_each(book, range(1, 2))
    assert not book.compact(least=2)
    one_each(book, range(2, 4))
    assert not book.compact()
    assert len(list_segments(store)) == 3


def test_state_survives(store: Store) -> None:
    book = book_at(store)
    one_each(book, range(1, 6))
    one_each(book, range(1, 3), "other")
    before, gaps = book.resume("node"), read_ledger(store).gaps.num_rows
    assert book.compact(least=2)
    assert book_at(store).resume("node") == before
    assert read_ledger(store).gaps.num_rows == gaps == 7
    (segment,), _ = read_segments(store)
    assert {row["meter"]: (row["first"], row["last"]) for row in segment.tables["range"].to_pylist()} == {
        "m": (1, 5),
        "other": (1, 2),
    }
    assert segment.tables["mark"].num_rows == segment.tables["total"].num_rows == 2
    again = book_at(store)
    assert again.submit(batch_of("m", 6)).durable == 5
    assert check(store) == []


@pytest.mark.parametrize("step", range(14))
def test_a_crash_at_any_step(tmp_path: Path, step: int) -> None:
    """Looks, the write and three removals, each with a before and an after."""
    store = FragileStore(str(tmp_path))
    book = book_at(store)
    one_each(book, range(1, 4))
    book.submit(batch_of("m", 4))
    store.steps_left = step
    try:
        book.compact(least=2)
    except Crash:
        pass
    else:
        assert step > 11
    store.steps_left = None
    assert counted(store) == bits(range(1, 4))
    assert check(store) == []
    later = book_at(store, NOW + SILENT_S + 1)
    assert later.submit(batch_of("m", 4)).durable == 3
    later.flush()
    later.compact(least=2)
    assert len(list_segments(store)) == 1
    assert counted(store) == bits(range(1, 5))
    assert check(store) == []


def test_readers_skip_what_was_replaced(store: Store) -> None:
    book = book_at(store)
    one_each(book, range(1, 4))
    old = {path: store.read_document(path) for path in store.list_documents("ledger")}
    book.compact(least=2)
    for path, content in old.items():
        store.write_document(path, content or b"")
    assert len(list_segments(store)) == 4
    assert counted(store) == bits(range(1, 4))
    assert check(store) == []


@pytest.mark.slow
def test_segments_of_another_ledger_are_merged_when_it_is_silent(store: Store) -> None:
    other = book_at(store)
    one_each(other, range(1, 3), "other")
    mine = book_at(store, NOW + SILENT_S - 1)
    one_each(mine, range(1, 3))
    assert mine.compact(least=2)
    assert len(list_segments(store)) == 3
    later = book_at(store, NOW + SILENT_S + 1)
    one_each(later, range(3, 4))
    assert later.compact(least=2)
    assert len(list_segments(store)) == 2
    one_each(other, range(3, 5), "other")  # it only hung
    assert other.compact(least=2)
    assert (counted(store), counted(store, "other")) == (bits(range(1, 4)), bits(range(1, 5)))
    assert check(store) == []


@pytest.mark.slow
def test_work_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six rows to a segment: range, total, mark, gap, entry, and that of the device that could not be read."""
    monkeypatch.setattr(compaction, "MAX_ROWS", 20)
    book = book_at(store)
    one_each(book, range(1, 9))
    (first, *_), _ = read_segments(store)
    assert first.header.num_rows == 6
    assert book.compact(least=2)
    merged, _ = read_segments(store)
    assert len(merged) == 6  # 3 of 8
    while book.compact(least=2):
        pass
    sizes = [segment.header.num_rows for segment in read_segments(store)[0]]
    assert max(sizes) <= 20
    assert len([size for size in sizes if size <= 10]) <= 1  # all others are full
    assert counted(store) == bits(range(1, 9))
    assert check(store) == []


def test_unmeasured_stays_null(store: Store) -> None:
    book = book_at(store)
    for batch in batches("m", range(2, 4)):  # in one hour
        first = replace(batch, number=batch.number - 1, entries=batch.entries[1:], totals=())
        book.submit(first)
        book.flush()
    book.compact(least=2)
    (entry,) = read_ledger(store).entries.to_pylist()
    assert (entry["energy_uj"], entry["duration_s"]) == (None, 1200.0)
    assert (entry["begin_unix_s"], entry["end_unix_s"]) == (BEGIN_UNIX_S + 1200, BEGIN_UNIX_S + 2400)
