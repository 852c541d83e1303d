"""The shard codec: what is written is read, byte for byte the same each time, and nothing else is accepted."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_ray.config.payload import Payload
from collapse_ray.data.shards import (
    ShardError,
    ShardLayout,
    decode_shard,
    encode_shard,
    payload_array,
    shard_layout,
    shard_schema,
)

IMAGE = Payload("image", (3, 4, 5))
TOKENS = Payload("tokens", (7,), vocab_size=50)
REPLICAS = Payload("vector", (6, 2))
PAYLOADS = [IMAGE, TOKENS, REPLICAS]


def samples(payload: Payload, num_samples: int) -> np.ndarray:
    rng = np.random.default_rng(num_samples)
    shape = (num_samples, *payload.shape)
    if payload.kind == "vector":
        return rng.standard_normal(shape)
    return rng.integers(0, payload.vocab_size or 256, shape).astype(payload.dtype)


def encode(payload: Payload, array: np.ndarray) -> bytes:
    return encode_shard(payload, np.arange(10, 10 + len(array)), "synthetic", 3, "f00d", array)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.kind)
@pytest.mark.parametrize("num_samples", [0, 1, 33])
def test_round_trip(payload: Payload, num_samples: int) -> None:
    array = samples(payload, num_samples)
    table = decode_shard(encode(payload, array))
    assert table.schema.equals(shard_schema(payload))
    read = payload_array(table, payload)
    assert read.dtype == payload.dtype
    np.testing.assert_array_equal(read, array)
    assert table["sample_id"].to_pylist() == list(range(10, 10 + num_samples))
    assert table["origin"].to_pylist() == ["synthetic"] * num_samples
    assert table["generation"].to_pylist() == [3] * num_samples
    assert table["producer"].to_pylist() == ["f00d"] * num_samples


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.kind)
def test_same_samples_give_the_same_bytes(payload: Payload) -> None:
    array = samples(payload, 20)
    strided = np.asfortranarray(np.concatenate([array, array])[::2][:10])
    assert encode(payload, array) == encode(payload, array.copy())
    assert encode(payload, strided) == encode(payload, np.ascontiguousarray(strided))


def test_doubles_survive_to_the_last_bit() -> None:
    array = np.array([[np.nan], [-0.0], [5e-324], [np.inf], [1 / 3]])
    payload = Payload("vector", (1,))
    read = payload_array(decode_shard(encode(payload, array)), payload)
    assert read.tobytes() == array.tobytes()


def test_payload_is_flattened_row_major_and_read_without_a_copy() -> None:
    array = samples(IMAGE, 4)
    table = decode_shard(encode(IMAGE, array))
    assert table["payload"][2].as_py() == array[2].reshape(-1).tolist()
    first, second = payload_array(table, IMAGE), payload_array(table, IMAGE)
    assert np.shares_memory(first, second)


def test_tables_of_several_chunks_are_read() -> None:
    tables = [decode_shard(encode(IMAGE, samples(IMAGE, size))) for size in (2, 5)]
    joined = payload_array(pa.concat_tables(tables), IMAGE)
    np.testing.assert_array_equal(joined, np.concatenate([samples(IMAGE, 2), samples(IMAGE, 5)]))
    np.testing.assert_array_equal(payload_array(tables[1].slice(1, 3), IMAGE), samples(IMAGE, 5)[1:4])


def test_shards_are_zstd_parquet_of_one_row_group() -> None:
    metadata = pq.ParquetFile(pa.BufferReader(encode(IMAGE, samples(IMAGE, 9)))).metadata
    assert metadata.num_row_groups == 1
    assert {metadata.row_group(0).column(index).compression for index in range(metadata.num_columns)} == {"ZSTD"}


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((2, 3, 4, 6), np.uint8), "got uint8 (2, 3, 4, 6)"),
        (np.zeros((2, 3, 4, 5)), "got float64 (2, 3, 4, 5)"),
        (np.zeros((3, 3, 4, 5), np.uint8), "got uint8 (3, 3, 4, 5)"),
    ],
    ids=["shape", "dtype", "count"],
)
def test_samples_of_another_form_are_refused(array: np.ndarray, found: str) -> None:
    with pytest.raises(ShardError, match=re.escape(f"must be uint8 (2, 3, 4, 5); {found}")):
        encode_shard(IMAGE, np.arange(2), "real", 0, "f00d", array)


@pytest.mark.parametrize("token", [-1, 50])
def test_tokens_outside_the_vocabulary_are_refused(token: int) -> None:
    array = samples(TOKENS, 3)
    array[1, 4] = token
    with pytest.raises(ShardError, match=rf"lie in \[0, 50\).*{token}"):
        encode(TOKENS, array)


@pytest.mark.parametrize("damage", [b"", b"not parquet", encode(IMAGE, samples(IMAGE, 9))[:-20]])
def test_what_is_no_parquet_is_refused(damage: bytes) -> None:
    with pytest.raises(ShardError, match=f"{len(damage)} bytes are not a whole Parquet file"):
        decode_shard(damage)


def altered(**columns: pa.Array) -> bytes:
    table = decode_shard(encode(IMAGE, samples(IMAGE, 2)))
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (altered(sample_id=pa.array([1.0, 2.0])), "sample_id double"),
        (altered(generation=pa.array([1, 2])), "generation int64"),
        (altered(payload=pa.array([[1], [2, 3]])), "payload list"),
    ],
    ids=["sample_id", "generation", "payload"],
)
def test_shards_with_other_columns_are_refused(content: bytes, found: str) -> None:
    with pytest.raises(ShardError, match=f"found.*{found}"):
        decode_shard(content)


def test_missing_column_is_refused() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    with pytest.raises(ShardError, match=r"needs a column 'payload'.*found x int64"):
        decode_shard(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("other", [Payload("image", (3, 4, 4)), Payload("vector", (60,))])
def test_payload_of_another_form_is_refused(other: Payload) -> None:
    table = decode_shard(encode(IMAGE, samples(IMAGE, 2)))
    with pytest.raises(ShardError, match=rf"{other.size}\].*found.*uint8.*\[60\]"):
        payload_array(table, other)


# Layout ---------------------------------------------------------------------------------------


@given(num_samples=st.integers(1, 10**7), block_size=st.integers(1, 5000))
def test_layout_is_whole_blocks_and_at_most_256_shards(num_samples: int, block_size: int) -> None:
    layout = shard_layout(num_samples, block_size)
    assert layout.rows_per_shard % block_size == 0
    assert 1 <= layout.num_shards <= 256
    # No finer layout of whole blocks would do.
    finer = layout.rows_per_shard - block_size
    assert finer == 0 or -(-num_samples // finer) > 256


@given(num_samples=st.integers(0, 500), rows_per_shard=st.integers(1, 60))
def test_bounds_cover_every_row_once(num_samples: int, rows_per_shard: int) -> None:
    layout = ShardLayout(num_samples, rows_per_shard)
    held = [
        np.full(stop - start, shard) for shard in range(layout.num_shards) for start, stop in [layout.bounds(shard)]
    ]
    expected = np.concatenate([np.empty(0, int), *held])
    np.testing.assert_array_equal(layout.shard_of(np.arange(num_samples)), expected)
    assert all(len(rows) for rows in held)


def test_layout_by_hand() -> None:
    layout = shard_layout(1000, 300)
    assert layout == ShardLayout(1000, 300)
    assert layout.num_shards == 4
    assert layout.bounds(3) == (900, 1000)
    assert layout.name(3) == "shard-00003.parquet"
    assert shard_layout(100_000, 10).rows_per_shard == 400  # 10,000 blocks: 40 in each of 250 shards
