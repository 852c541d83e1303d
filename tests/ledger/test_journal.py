"""Segments on every kind of file system: whole or named as torn, and which of them count."""

import pickle
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import batch_of, batches, bits
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.energy.series import Gap
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.journal import list_segments, read_segments
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.ranges import counting
from collapse_ray.ledger.rows import Row
from collapse_ray.ledger.segment import COLUMNS, KINDS, RowKind, TornSegment, decode, encode, schema_of, table_of


def written(store: Store, *numbers: range) -> Book:
    """A segment for each range of batches of the meter `m`."""
    book = Book(store)
    for of_segment in numbers:
        for batch in batches("m", of_segment):
            book.submit(batch)
        book.flush()
    return book


def total(store: Store) -> int | None:
    return read_ledger(store).energy_of_artifacts()["m"][0]


# Every file system --------------------------------------------------------------------------------


@pytest.mark.slow
def test_round_trip_on_every_file_system(any_store: Store) -> None:
    assert read_ledger(any_store).entries.num_rows == 0
    book = written(any_store, range(1, 4), range(4, 6))
    assert len(list_segments(any_store)) == 2
    assert total(any_store) == bits(range(1, 6))
    assert book.compact(least=2)
    assert len(list_segments(any_store)) == 1
    assert total(any_store) == bits(range(1, 6))
    assert check(any_store) == []
    again = Book(pickle.loads(pickle.dumps(any_store)))
    assert again.submit(batch_of("m", 6)).durable == 5
    assert again.resume("node").open_marks == batch_of("m", 6).open_marks
    gaps = read_ledger(any_store).gaps.to_pylist()
    assert [Gap(gap["begin_s"], gap["end_s"], gap["reason"], gap["bridged"]) for gap in gaps] == [
        gap for batch in batches("m", range(1, 7)) for _, gap in batch.gaps
    ]


def test_segments_are_parquet_that_anybody_reads(store: Store) -> None:
    written(store, range(1, 4))
    (name,) = list_segments(store)
    assert re.fullmatch(r"segment-00000001-[0-9a-f]{12}\.parquet", name)
    table = pq.read_table(Path(store.uri, "ledger", name)).to_pandas()
    assert table.groupby("row", observed=True).size().to_dict() == {
        **{"range": 1, "total": 1, "mark": 1, "gap": 3, "entry": 5}
    }
    assert table["energy_uj"].sum() == bits(range(1, 4))


def test_other_files_are_left_alone(store: Store) -> None:
    written(store, range(1, 3))
    store.write_document("ledger/README.txt", b"hello")
    store.write_document("ledger/segment-00000001-x.parquet.tmp", b"half")
    assert total(store) == bits([1, 2])
    assert check(store) == []


def test_rows_come_back_as_they_were() -> None:
    rows: dict[RowKind, list[Row]] = {kind: [tuple(map(_value, schema_of(kind)))] * 3 for kind in KINDS}
    tables: dict[RowKind, pa.Table] = {kind: table_of(kind, rows[kind] if kind != "mark" else []) for kind in KINDS}
    segment = decode("name", encode(tables, "life", 5.0, ["b", "a"]))
    assert segment.header.replaces == {"a", "b"}
    assert (segment.header.life, segment.header.written_unix_s, segment.header.num_rows) == ("life", 5.0, 12)
    for kind in KINDS:
        assert segment.tables[kind].column_names == list(COLUMNS[kind])
        assert segment.tables[kind].to_pylist() == tables[kind].to_pylist()
    some = decode("name", encode(tables, "life", 5.0), ["range", "total"], ["last", "device"])
    assert {kind: table.column_names for kind, table in some.tables.items()} == {
        "range": ["last"],
        "total": ["last", "device"],
    }


def _value(field: pa.Field) -> object:
    values = {pa.int64(): 2**62 + 1, pa.float64(): 0.1, pa.bool_(): True}
    return values.get(field.type, f"some {field.name}")


# Torn ---------------------------------------------------------------------------------------------


def tear(store: Store, name: str, how: str) -> None:
    path = Path(store.uri, "ledger", name)
    content = path.read_bytes()
    if how == "altered entries":
        metadata = pq.read_metadata(path)
        energies = metadata.row_group(metadata.num_row_groups - 1).column(metadata.schema.names.index("energy_uj"))
        last = energies.data_page_offset + energies.total_compressed_size - 1
        content = content[:last] + bytes([content[last] ^ 0x01]) + content[last + 1 :]
    elif how == "other version":
        content = content.replace(b'"version": 1', b'"version": 9')
    elif how == "no parquet":
        content = b"not a segment" * 100
    elif how == "other parquet":
        pq.write_table(pa.table({"x": [1]}), path)
        return
    else:
        content = content[: int(len(content) * float(how))]
    path.write_bytes(content)


TEARS = ["0.0", "0.001", "0.5", "0.99", "altered entries", "other version", "no parquet", "other parquet"]


@pytest.mark.parametrize("how", TEARS)
def test_a_torn_segment_is_named(store: Store, how: str, caplog: pytest.LogCaptureFixture) -> None:
    written(store, range(1, 4), range(4, 6), range(6, 8))
    name = list_segments(store)[1]
    tear(store, name, how)
    with pytest.raises(TornSegment, match=rf"ledger/{name} cannot be read: .* move it out of ledger/") as raised:
        read_ledger(store)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    problems = [(finding.problem, finding.subject) for finding in check(store)]
    assert problems[:2] == [("torn", f"ledger/{name}"), ("missing", "m")]

    book = Book(store)  # the next run is metered all the same
    if how != "altered entries":  # a ledger needs the rest of the file alone
        assert f"ledger/{name} cannot be read" in caplog.text
    assert book.submit(batch_of("m", 8)).durable == 7

    Path(store.uri, "ledger", name).rename(Path(store.uri, name))
    assert total(store) == bits([1, 2, 3, 6, 7])


def test_a_torn_segment_is_not_merged_away(store: Store) -> None:
    book = written(store, range(1, 4), range(4, 6), range(6, 8))
    name = list_segments(store)[1]
    tear(store, name, "0.5")
    with pytest.raises(TornSegment, match=name):
        book.compact(least=2)
    again = Book(store, clock=lambda: 1e12)
    assert again.compact(least=2)
    assert name in list_segments(store)
    assert len(list_segments(store)) == 2


# Changed while it is read -------------------------------------------------------------------------


class Moving(Store):
    """Something is done to it between a look and the next read."""

    moves: Sequence[Callable[[], object]] = ()

    def list_documents(self, folder: str) -> list[str]:
        found = super().list_documents(folder)
        if self.moves:
            *self.moves, move = self.moves
            move()
        return found


def test_a_reader_looks_again_when_segments_are_merged(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    book = written(store, range(1, 3), range(3, 5))
    moving = Moving(str(tmp_path))
    moving.moves = [lambda: book.compact(least=2)]
    assert total(moving) == bits(range(1, 5))


def test_a_reader_gives_up_on_a_store_that_never_rests(tmp_path: Path) -> None:
    moving = Moving(str(tmp_path))
    moving.__dict__["moves"] = [
        lambda number=number: moving.write_document(f"ledger/segment-{number:08d}-x.parquet", b"")
        for number in range(99)
    ]
    with pytest.raises(StoreError, match="changed at each of 10 looks"):
        read_segments(moving)


# What counts --------------------------------------------------------------------------------------

RANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 12), st.integers(0, 5)).map(lambda r: (r[0], r[1], r[1] + r[2])),
    max_size=7,
)


def most(ranges: list[tuple[str, int, int]]) -> tuple[int, int]:
    """Brute force over one meter's ranges: most batches, then fewest ranges (negative)."""
    best = (0, 0)
    for size in range(len(ranges) + 1):
        for chosen in combinations(ranges, size):
            numbers = [number for _, first, last in chosen for number in range(first, last + 1)]
            if len(numbers) == len(set(numbers)):
                best = max(best, (len(numbers), -size))
    return best


def ranges_table(rows: list[tuple[str, int, int, bool]]) -> pa.Table:
    return table_of("range", [(meter, last, first, "node", 0.0, closed) for meter, first, last, closed in rows])


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(RANGES)
def test_the_disjoint_ranges_of_most_batches_count(ranges: list[tuple[str, int, int]]) -> None:
    counts = counting(ranges_table([(*one, False) for one in ranges]))
    for meter in "ab":
        chosen = [one for one, counted in zip(ranges, counts, strict=True) if counted and one[0] == meter]
        numbers = [number for _, first, last in chosen for number in range(first, last + 1)]
        assert len(numbers) == len(set(numbers))
        assert (len(numbers), -len(chosen)) == most([one for one in ranges if one[0] == meter])


def test_nothing_counts_after_a_meter_was_closed() -> None:
    rows = [("a", 1, 3, False), ("a", 4, 3, True), ("a", 4, 5, False), ("b", 1, 9, False), ("a", 6, 5, True)]
    assert counting(ranges_table(rows)).tolist() == [True, False, False, True, False]
