"""Rows of segments as Arrow tables: stacked, picked by kind, and told apart by their keys."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_ray.ledger.segment import SCHEMA, Segment

STRIDE = 1 << 40
"""More than any number of a batch: at one a second they last for 30,000 years."""


def stacked(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables under each other, with one dictionary for each column."""
    return pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default").unify_dictionaries()


def joined(segments: Sequence[Segment]) -> tuple[pa.Table, pa.Table]:
    """State and entries of all segments, with the same dictionaries in both."""
    table = stacked([*(segment.state for segment in segments), *(segment.entries for segment in segments)])
    num_state_rows = sum(segment.state.num_rows for segment in segments)
    return table.slice(0, num_state_rows), table.slice(num_state_rows)


def of_kind(table: pa.Table, row: str) -> pa.Table:
    """Rows of a state of one kind: `range`, `total`, `mark` or `gap`."""
    return table.filter(pc.call_function("equal", [table["row"], pa.scalar(row)]))


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """Of a column of strings with one dictionary: the index into it, int64 [num_rows]; -1 where it is null."""
    indices = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate([np.empty(0, np.int64), *indices]).astype(np.int64)


def range_ids(table: pa.Table) -> np.ndarray:
    """A number for the range that each row belongs to, int64 [num_rows]: of two ranges of a meter the later has more.

    Equal in two rows where their `meter` and `last` are; where several segments hold the same batches, that does not
    make it the same range.
    """
    return codes(table["meter"]) * STRIDE + table["last"].to_numpy()


def latest(table: pa.Table, keys: Sequence[str], by: str) -> pa.Table:
    """For each combination of the keys (columns of strings), the row with the highest `by`."""
    columns = [codes(table[key]) for key in keys]
    order = np.lexsort((table[by].to_numpy(), *columns))
    differs = np.zeros(max(len(order) - 1, 0), bool)
    for column in columns:
        differs |= column[order[1:]] != column[order[:-1]]
    return table.take(order[np.append(differs, True)] if len(order) else order)
