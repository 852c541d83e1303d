"""One segment of the journal: a Parquet file that holds entries, and how far each meter had come with them.

All is in one table, so that one file is one commit. The column `row` says what a row is, and every row names the
`meter` it came from and the range of batches it belongs to, by the number of the last of them (`last`):

    range   batches `first` to `last` of this meter are in this file, with all that was in them
    total   how far the meter had come with a device
    mark    work that went on at the end of the range
    gap     a new gap
    entry   joules of one account, quality, rule and hour

Rows of a kind have row groups of their own, so that each kind can be read without the others. Pages carry checksums.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_ray.artifact.record import StoreError
from collapse_ray.ledger.rows import ENTRY, GAP, MARK, TOTAL, Row

FOLDER = "ledger"
VERSION = 1

RowKind = Literal["range", "total", "mark", "gap", "entry"]
COLUMNS: dict[RowKind, tuple[str, ...]] = {
    "range": ("meter", "last", "first", "node", "taken_unix_s", "closed"),
    "total": ("meter", "last", "taken_unix_s", *TOTAL),
    "mark": ("meter", "last", *MARK),
    "gap": ("meter", "last", "node", *GAP),
    "entry": ("meter", "last", *ENTRY),
}
"""What rows of each kind have; other columns of the file are null there."""
KINDS = tuple(COLUMNS)

_TEXT = pa.dictionary(pa.int32(), pa.string())
_INTS = ("first", "last", "generation", "energy_uj", "settled_uj", "counter_uj")
_BOOLS = ("closed", "bridged")
_FLOATS = ("share",)


def _type(name: str) -> pa.DataType:
    if name in _INTS:
        return pa.int64()
    if name in _BOOLS:
        return pa.bool_()
    return pa.float64() if name.endswith("_s") or name in _FLOATS else _TEXT


def schema_of(kind: RowKind) -> pa.Schema:
    """Names and types of the rows of a kind; strings are dictionary-encoded."""
    return pa.schema([(name, _type(name)) for name in COLUMNS[kind]])


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with strings that are not dictionary-encoded."""
    return pa.schema([(field.name, pa.string() if field.type == _TEXT else field.type) for field in schema])


_ALL = dict.fromkeys(name for names in COLUMNS.values() for name in names)
_SCHEMA = pa.schema([("row", _TEXT), *((name, _type(name)) for name in _ALL)])
_META = "collapse_ray"
_ROWS_IN_GROUP = 1 << 18
_DICTIONARIES = [field.name for field in _SCHEMA if field.type == _TEXT]
_ENCODING = {
    field.name: "DELTA_BINARY_PACKED" if field.type == pa.int64() else "BYTE_STREAM_SPLIT"
    for field in _SCHEMA
    if field.type in (pa.int64(), pa.float64())
}


class TornSegment(StoreError):
    """A segment that cannot be read: cut short, altered, or of another version."""

    def __init__(self, name: str, why: object) -> None:
        super().__init__(name, str(why))
        self.name = name

    def __str__(self) -> str:
        name, why = self.args
        return (
            f"{FOLDER}/{name} cannot be read: {why}. To read the others, move it out of {FOLDER}/: its joules are lost "
            "then, and `collapse ledger STORE --check` says of which batches"
        )


@dataclass(frozen=True)
class Header:
    """What a segment says of itself."""

    name: str
    life: str
    """Of the ledger that wrote it: its process may have had others before it."""
    written_unix_s: float
    replaces: frozenset[str]
    """Names of the segments that were merged into this one; they no longer count."""
    num_rows: int


@dataclass(frozen=True)
class Segment:
    """One segment in memory, or some kinds of its rows."""

    header: Header
    tables: Mapping[RowKind, pa.Table]


def segment_name(ordinal: int, life: str) -> str:
    """Later segments of a life sort after its earlier ones, and after all that it had seen."""
    return f"segment-{ordinal:08d}-{life}.parquet"


def ordinal_of(name: str) -> int:
    """The number in a segment's name."""
    return int(name.split("-")[1])


def table_of(kind: RowKind, rows: Sequence[Row]) -> pa.Table:
    """Rows of a kind, each with a value for each of its `COLUMNS`."""
    schema = schema_of(kind)
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.table([list(values) for values in columns], schema=plain(schema)).cast(schema)


def encode(
    tables: Mapping[RowKind, pa.Table], life: str, written_unix_s: float, replaces: Collection[str] = ()
) -> bytes:
    """The file."""
    about = {
        "version": VERSION,
        "life": life,
        "written_unix_s": written_unix_s,
        "replaces": sorted(replaces),
        "num_rows": {kind: tables[kind].num_rows for kind in KINDS},
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        _SCHEMA,
        compression="zstd",
        use_dictionary=_DICTIONARIES,  # pyright: ignore[reportArgumentType] - its docs say: bool or list
        column_encoding=_ENCODING,
        write_page_checksum=True,
    ) as writer:
        for kind in KINDS:
            if tables[kind].num_rows:  # else there would be a row group without rows
                writer.write_table(_widened(kind, tables[kind]), row_group_size=_ROWS_IN_GROUP)
        writer.add_key_value_metadata({_META: json.dumps(about)})
    return sink.getvalue().to_pybytes()


def _widened(kind: RowKind, table: pa.Table) -> pa.Table:
    """Rows of a kind with all columns of the file."""
    row = pa.DictionaryArray.from_arrays(np.zeros(table.num_rows, np.int32), pa.array([kind]))
    named = table.add_column(0, "row", row)
    return pa.concat_tables([_SCHEMA.empty_table(), named], promote_options="default")


def decode(
    name: str, content: bytes, kinds: Collection[RowKind] = KINDS, columns: Collection[str] | None = None
) -> Segment:
    """Reads a file.

    Args:
        name: of the segment.
        content: the whole file.
        kinds: of the rows to read.
        columns: to read of those that these rows have; None for all.

    Raises:
        TornSegment: it is not a whole segment of this version.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        about: Mapping[str, Any] = json.loads((file.metadata.metadata or {})[_META.encode()])
        if about["version"] != VERSION:
            raise ValueError(f"it is of version {about['version']}, and this collapse-ray reads version {VERSION}")
        replaces = frozenset(about["replaces"])
        header = Header(name, about["life"], about["written_unix_s"], replaces, file.metadata.num_rows)
        tables: dict[RowKind, pa.Table] = {
            kind: file.read_row_groups(groups, [name for name in COLUMNS[kind] if columns is None or name in columns])
            for kind, groups in _groups(about["num_rows"])
            if kind in kinds
        }
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise TornSegment(name, error) from error
    return Segment(header, tables)


def _groups(num_rows: Mapping[str, int]) -> Iterator[tuple[RowKind, list[int]]]:
    """The row groups of each kind."""
    ends = accumulate((-(-num_rows[kind] // _ROWS_IN_GROUP) for kind in KINDS), initial=0)
    for kind, (begin, end) in zip(KINDS, pairwise(ends), strict=True):
        yield kind, list(range(begin, end))
