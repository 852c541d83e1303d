"""Samples as Parquet shards: the same samples give the same bytes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_ray.config.payload import Payload
from collapse_ray.data.regime import Origin

MAX_SHARDS = 256


class ShardError(ValueError):
    """A shard or its samples do not have the declared form; the message says what was found and what is expected."""


@dataclass(frozen=True)
class ShardLayout:
    """How rows are spread over shards: consecutive runs of `rows_per_shard`, the last one shorter."""

    num_samples: int
    rows_per_shard: int

    @property
    def num_shards(self) -> int:
        return -(-self.num_samples // self.rows_per_shard)

    def shard_of(self, rows: np.ndarray) -> np.ndarray:
        """The shard that holds each row: int64 (N,) -> int64 (N,)."""
        return rows // self.rows_per_shard

    def bounds(self, shard: int) -> tuple[int, int]:
        """Rows [start, stop) of one shard."""
        start = shard * self.rows_per_shard
        return start, min(start + self.rows_per_shard, self.num_samples)

    def name(self, shard: int) -> str:
        """The file name of one shard."""
        return f"shard-{shard:05d}.parquet"


def shard_layout(num_samples: int, block_size: int) -> ShardLayout:
    """The finest layout of whole blocks that has at most 256 shards.

    It depends on no number of workers, so any number of them writes the same files.
    """
    num_blocks = -(-num_samples // block_size)
    return ShardLayout(num_samples, block_size * max(1, -(-num_blocks // MAX_SHARDS)))


def shard_schema(payload: Payload) -> pa.Schema:
    """The columns of every shard; `payload` holds one flattened (row-major) payload in each row."""
    number = pa.field("element", pa.type_for_alias(payload.dtype), nullable=False)
    return pa.schema(
        [
            pa.field("sample_id", pa.int64(), nullable=False),
            pa.field("origin", pa.string(), nullable=False),
            pa.field("generation", pa.int32(), nullable=False),
            pa.field("producer", pa.string(), nullable=False),
            pa.field("payload", pa.list_(number, payload.size), nullable=False),
        ]
    )


def encode_shard(
    payload: Payload, sample_ids: np.ndarray, origin: Origin, generation: int, producer: str, array: np.ndarray
) -> bytes:
    """One Parquet file of samples made by one producer.

    Args:
        payload: the form of each sample.
        sample_ids: (N,) integers.
        origin: where all N samples come from.
        generation: 0 for real data, else the generation whose model made them.
        producer: fingerprint of what made them.
        array: (N, *payload.shape) of payload.dtype.

    Raises:
        ShardError: `array` has another shape or dtype, or holds tokens outside the vocabulary.
    """
    _require_form(payload, array, len(sample_ids))
    num_samples = len(sample_ids)
    schema = shard_schema(payload)
    columns = [
        pa.array(np.asarray(sample_ids, dtype=np.int64)),
        pa.repeat(pa.scalar(origin, pa.string()), num_samples),
        pa.repeat(pa.scalar(generation, pa.int32()), num_samples),
        pa.repeat(pa.scalar(producer, pa.string()), num_samples),
        pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), type=schema.field("payload").type),
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns, schema=schema),
        sink,
        row_group_size=max(1, num_samples),
        compression="zstd",
        use_dictionary=["origin", "producer"],  # pyright: ignore[reportArgumentType] - its docs say: bool or list
        write_statistics=False,
    )
    return sink.getvalue().to_pybytes()


def decode_shard(content: bytes) -> pa.Table:
    """The table that `encode_shard` wrote.

    Raises:
        ShardError: not a Parquet file, or other columns than those of a shard.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{len(content)} bytes are not a whole Parquet file: {error}") from error
    form = table.schema.field("payload").type if "payload" in table.column_names else pa.null()
    if not pa.types.is_fixed_size_list(form):
        raise ShardError(f"a shard needs a column 'payload' of fixed-size lists; found {_describe(table.schema)}")
    _require_columns(table, form)
    return table


def payload_array(table: pa.Table, payload: Payload) -> np.ndarray:
    """The payloads of a shard as (N, *payload.shape), without a copy where the table has one chunk (then read-only).

    Raises:
        ShardError: the table's columns are not those of samples of this payload.
    """
    _require_columns(table, shard_schema(payload).field("payload").type)
    column = table.column("payload")
    lists = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return lists.flatten().to_numpy(zero_copy_only=True).reshape(-1, *payload.shape)


def _require_form(payload: Payload, array: np.ndarray, num_samples: int) -> None:
    expected = (num_samples, *payload.shape)
    if array.shape != expected or array.dtype != payload.dtype:
        raise ShardError(
            f"samples of kind {payload.kind} must be {payload.dtype} {expected}; got {array.dtype} {array.shape}"
        )
    if payload.vocab_size is not None and array.size and not 0 <= array.min() <= array.max() < payload.vocab_size:
        raise ShardError(
            f"tokens must lie in [0, {payload.vocab_size}); got tokens from {array.min()} to {array.max()}"
        )


def _require_columns(table: pa.Table, form: pa.DataType) -> None:
    expected = [
        ("sample_id", pa.int64()),
        ("origin", pa.string()),
        ("generation", pa.int32()),
        ("producer", pa.string()),
    ]
    expected.append(("payload", form))
    if [(field.name, field.type) for field in table.schema] != expected:
        wanted = ", ".join(f"{name} {kind}" for name, kind in expected)
        raise ShardError(f"a shard of this payload has the columns {wanted}; found {_describe(table.schema)}")


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema) or "(no columns)"
