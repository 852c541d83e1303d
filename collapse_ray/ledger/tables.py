"""Rows of segments as Arrow tables: stacked, and told apart by their keys."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_ray.ledger.segment import RowKind, Segment, schema_of

STRIDE = 1 << 40
"""More than any number of a batch: at one a second they last for 30,000 years."""


def stacked(kind: RowKind, tables: Iterable[pa.Table]) -> pa.Table:
    """Tables of rows of a kind under each other, with one dictionary for each column."""
    return pa.concat_tables([schema_of(kind).empty_table(), *tables], promote_options="default").unify_dictionaries()


def rows_of_kind(kind: RowKind, segments: Iterable[Segment]) -> pa.Table:
    """The rows of a kind of all segments."""
    return stacked(kind, (segment.tables[kind] for segment in segments))


def names_in(*columns: pa.ChunkedArray) -> pa.Array:
    """The strings in the dictionaries of columns, each once."""
    dictionaries = [chunk.dictionary for column in columns for chunk in column.chunks]
    return pa.chunked_array([pa.array([], pa.string()), *dictionaries]).unique()


def codes(column: pa.ChunkedArray, names: pa.Array) -> np.ndarray:
    """Where each string of a column is in `names`, int64 [num_rows]; -1 where it is null or not there."""
    parts = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        places = pc.call_function("index_in", [chunk.dictionary], pc.SetLookupOptions(value_set=names))
        places = np.append(places.fill_null(-1).to_numpy(zero_copy_only=False), -1)  # the last for null
        parts.append(places[chunk.indices.fill_null(len(places) - 1).to_numpy(zero_copy_only=False)])
    return np.concatenate(parts)


def range_ids(table: pa.Table, meters: pa.Array) -> np.ndarray:
    """A number for the range that each row belongs to, int64 [num_rows]: of two ranges of a meter the later has more.

    Equal in two rows where their `meter` and `last` are; where several segments hold the same batches, that does not
    make it the same range.

    Args:
        table: rows of any kind.
        meters: the names of all meters.
    """
    return codes(table["meter"], meters) * STRIDE + table["last"].to_numpy()


def latest(table: pa.Table, keys: Sequence[str], by: str) -> pa.Table:
    """For each combination of the keys (columns of strings), the row with the highest `by`."""
    columns = [codes(table[key], names_in(table[key])) for key in keys]
    order = np.lexsort((table[by].to_numpy(), *columns))
    differs = np.zeros(max(len(order) - 1, 0), bool)
    for column in columns:
        differs |= column[order[1:]] != column[order[:-1]]
    return table.take(order[np.append(differs, True)] if len(order) else order)


def set_column(kind: RowKind, table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    """The rows of a kind with other values in a column."""
    return table.set_column(table.column_names.index(name), schema_of(kind).field(name), pa.array(values))
