"""One segment of the journal: a Parquet file that holds entries, and how far each meter had come with them.

All is in one table, so that one file is one commit. The column `row` says what a row is, and every row names the
`meter` it came from and the range of batches it belongs to, by the number of the last of them (`last`):

    range   batches `first` to `last` of this meter are in this file, with all that was in them
    total   how far the meter had come with a device
    mark    work that went on at the end of the range
    gap     a new gap
    entry   joules of one account, quality, rule and hour

What is not an entry comes first, so that the state can be read without the entries. Pages carry checksums.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from collapse_ray.artifact.record import StoreError
from collapse_ray.ledger.rows import ACCOUNT, Row

FOLDER = "ledger"
VERSION = 1

_TEXT = pa.dictionary(pa.int32(), pa.string())
_BOOL, _INT, _FLOAT = pa.bool_(), pa.int64(), pa.float64()
_RANGE_FIELDS = {"first": _INT, "last": _INT, "taken_unix_s": _FLOAT, "closed": _BOOL}
_OTHER_FIELDS = {
    **{"quality": _TEXT, "rule": _TEXT, "energy_uj": _INT, "duration_s": _FLOAT},
    **{"begin_unix_s": _FLOAT, "end_unix_s": _FLOAT},
    **{"device_name": _TEXT, "device_kind": _TEXT, "settled_uj": _INT, "counter_uj": _INT, "boot_id": _TEXT},
    **{"settled_unix_s": _FLOAT, "begin_s": _FLOAT, "end_s": _FLOAT, "share": _FLOAT, "worker": _TEXT},
    **{"reason": _TEXT, "bridged": _BOOL},
}
_ACCOUNT_FIELDS = {name: _INT if name == "generation" else _TEXT for name in ACCOUNT}
SCHEMA = pa.schema(list({"row": _TEXT, "meter": _TEXT, **_RANGE_FIELDS, **_ACCOUNT_FIELDS, **_OTHER_FIELDS}.items()))


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with strings that are not dictionary-encoded."""
    return pa.schema([(field.name, pa.string() if field.type == _TEXT else field.type) for field in schema])


_PLAIN = plain(SCHEMA)

_META = b"collapse_ray"
_ROWS_IN_GROUP = 1 << 18
_DICTIONARIES = [field.name for field in SCHEMA if field.type == _TEXT]
_ENCODING = {
    field.name: "DELTA_BINARY_PACKED" if field.type == _INT else "BYTE_STREAM_SPLIT"
    for field in SCHEMA
    if field.type in (_INT, _FLOAT)
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
    num_state_rows: int
    num_rows: int


@dataclass(frozen=True)
class Segment:
    """One segment in memory."""

    header: Header
    state: pa.Table
    """Rows that are not entries."""
    entries: pa.Table


def segment_name(ordinal: int, life: str) -> str:
    """Later segments of a life sort after its earlier ones, and after all that it had seen."""
    return f"segment-{ordinal:08d}-{life}.parquet"


def ordinal_of(name: str) -> int:
    """The number in a segment's name."""
    return int(name.split("-")[1])


def table_of(parts: Iterable[tuple[str, Sequence[str], Sequence[Row]]]) -> pa.Table:
    """Rows of several kinds as one table of `SCHEMA`.

    Args:
        parts: for each kind of row: its name, the names of its columns, its rows.
    """
    tables = [_PLAIN.empty_table()]
    for kind, names, rows in parts:
        if rows:
            columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
            schema = pa.schema([_PLAIN.field(name) for name in ("row", *names)])
            tables.append(pa.table({"row": [kind] * len(rows), **columns}, schema=schema))
    return pa.concat_tables(tables, promote_options="default").cast(SCHEMA)


def encode(state: pa.Table, entries: pa.Table, life: str, written_unix_s: float, replaces: Collection[str]) -> bytes:
    """The file."""
    about = {
        "version": VERSION,
        "life": life,
        "written_unix_s": written_unix_s,
        "replaces": sorted(replaces),
        "num_state_rows": state.num_rows,
    }
    table = pa.concat_tables([state, entries]).replace_schema_metadata({_META: json.dumps(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_ROWS_IN_GROUP,
        compression="zstd",
        use_dictionary=_DICTIONARIES,  # pyright: ignore[reportArgumentType] - its docs say: bool or list
        column_encoding=_ENCODING,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def decode(name: str, content: bytes, columns: Sequence[str] | None = None, *, entries: bool = True) -> Segment:
    """Reads a file.

    Args:
        name: of the segment.
        content: the whole file.
        columns: to read; None for all.
        entries: False reads the state alone.

    Raises:
        TornSegment: it is not a whole segment of this version.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        header = _header(name, file)
        if header.num_rows < header.num_state_rows:
            raise ValueError(f"it has {header.num_rows} rows, of which {header.num_state_rows} are of its state")
        groups = range(file.num_row_groups) if entries else _first_groups(file, header.num_state_rows)
        table = file.read_row_groups(list(groups), columns=columns)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise TornSegment(name, error) from error
    return Segment(header, table.slice(0, header.num_state_rows), table.slice(header.num_state_rows))


def _header(name: str, file: pq.ParquetFile) -> Header:
    about: Mapping[str, Any] = json.loads((file.schema_arrow.metadata or {})[_META])
    if about["version"] != VERSION:
        raise ValueError(f"it is of version {about['version']}, and this collapse-ray reads version {VERSION}")
    return Header(
        name=name,
        life=about["life"],
        written_unix_s=about["written_unix_s"],
        replaces=frozenset(about["replaces"]),
        num_state_rows=about["num_state_rows"],
        num_rows=file.metadata.num_rows,
    )


def _first_groups(file: pq.ParquetFile, num_rows: int) -> range:
    """The row groups that hold the first rows."""
    seen = 0
    for group in range(file.num_row_groups):
        if seen >= num_rows:
            return range(group)
        seen += file.metadata.row_group(group).num_rows
    return range(file.num_row_groups)
