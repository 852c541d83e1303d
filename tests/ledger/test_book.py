"""The ledger's promise: what is acknowledged as durable counts once, whatever happens and how often."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from batches import BEGIN_UNIX_S, batch_of, batches, bits, work_on
from fragile_store import Crash, FragileStore
from ledger_books import NOW, book_on, counted

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.energy.series import Gap
from collapse_ray.ledger.batch import Ack
from collapse_ray.ledger.check import check
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.rows import marks_of, pack, rows_of, totals_of, unpack


def test_taken_is_not_durable_before_a_flush(store: Store) -> None:
    book = book_on(store)
    assert [book.submit(batch) for batch in batches("m", range(1, 4))] == [Ack(0, NOW)] * 3
    assert counted(store) == {}
    book.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert book.submit(batch_of("m", 4)) == Ack(3, NOW)


def test_duplicates_and_batches_after_a_hole_change_nothing(store: Store) -> None:
    book = book_on(store)
    for number in (1, 1, 3, 2, 2, 1, 5, 3):
        book.submit(batch_of("m", number))
    book.flush()
    for number in (1, 3, 5, 7):
        assert book.submit(batch_of("m", number)) == Ack(3, NOW)
    book.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert check(store) == []


def test_first_batch_of_a_meter_is_number_one(store: Store) -> None:
    book = book_on(store)
    assert book.submit(batch_of("m", 2)) == Ack(0, NOW)
    book.flush()
    assert counted(store) == {}


def test_a_new_ledger_goes_on_where_the_segments_end(store: Store) -> None:
    book = book_on(store)
    for batch in batches("m", range(1, 4)):
        book.submit(batch)
    book.flush()
    book.submit(batch_of("m", 4))  # lost with the process
    again = book_on(store)
    assert again.submit(batch_of("m", 5)) == Ack(3, NOW)
    for batch in batches("m", range(2, 6)):
        again.submit(batch)
    again.flush()
    assert counted(store) == {"m": bits(range(1, 6))}


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))

    def full() -> None:
        raise StoreError("no space left")

    store.happens = full
    book = book_on(store)
    for batch in batches("m", range(1, 8)):
        book.submit(batch)
        store.steps_left = 2
        with pytest.raises(StoreError, match="no space"):
            book.flush()
    assert book.submit(batch_of("m", 8)) == Ack(0, NOW)
    book.flush()
    assert book.submit(batch_of("m", 9)) == Ack(8, NOW)
    assert counted(store) == {"m": bits(range(1, 9))}
    assert read_ledger(store).gaps.num_rows == 8
    assert check(store) == []
    assert book.resume("node").open_marks == batch_of("m", 9).open_marks


def test_a_store_that_goes_away_after_the_write_loses_nothing(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    book = book_on(store)
    book.submit(batch_of("m", 1))
    store.steps_left = 4
    with pytest.raises(Crash):
        book.flush()
    assert book.submit(batch_of("m", 2)) == Ack(0, NOW)
    book.flush()
    assert book.submit(batch_of("m", 3)) == Ack(2, NOW)
    assert counted(store) == {"m": bits([1, 2])}


def test_nothing_new_writes_nothing(store: Store) -> None:
    book = book_on(store)
    book.flush()
    book.submit(batch_of("m", 1))
    book.flush()
    book.flush()
    assert len(store.list_documents("ledger")) == 1


def test_a_batch_may_be_empty(store: Store) -> None:
    book = book_on(store)
    empty = replace(batch_of("m", 1), entries=(), totals=(), open_marks=(), gaps=())
    book.submit(empty)
    book.flush()
    assert book_on(store).submit(batch_of("m", 1)) == Ack(1, NOW)
    assert check(store) == []


def test_entries_of_an_hour_are_summed_up(store: Store) -> None:
    book = book_on(store)
    key = work_on("node", "GPU-node", 0)
    for batch in batches("m", range(1, 13)):
        entry, unread = batch.entries
        book.submit(replace(batch, entries=(replace(entry, key=key, energy_uj=1), unread)))
    book.flush()
    table = read_ledger(store).entries.to_pandas()
    begins = [BEGIN_UNIX_S + 600.0 * number for number in range(1, 13)]
    hours = [list(group) for _, group in itertools.groupby(begins, lambda begin: begin // 3600)]
    expected = [(len(hour), 600.0 * len(hour), hour[0], hour[-1] + 600.0) for hour in hours]
    measured = table[table.quality == "counter"]
    found = measured[["energy_uj", "duration_s", "begin_unix_s", "end_unix_s"]].sort_values("begin_unix_s")
    assert list(found.itertuples(index=False, name=None)) == expected
    unread = table[table.quality == "unmeasured"]
    assert unread.energy_uj.isna().all()
    assert unread.duration_s.sum() == 12 * 600


def test_packed_is_the_same_batch() -> None:
    batch = replace(batch_of("m", 3), gaps=(("GPU-1", Gap(1.0, 2.0, "lost", bridged=True)),))
    rows = unpack(pack(batch))
    assert rows == rows_of(batch)
    assert totals_of(rows.totals) == batch.totals
    assert marks_of(rows.marks) == batch.open_marks
    assert rows.gaps == (("GPU-1", 1.0, 2.0, "lost", True),)
