"""Reads the planned rows of a pool from its shards, in the planned order, in plain Python."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.order import Order, PoolRows, ReadTask
from collapse_ray.data.regime import PoolPlan
from collapse_ray.data.shards import ShardLayout, decode_shard, payload_array

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Pool:
    """What a generation trains on and where it lies.

    For the generation of each part of the plan, `artifacts` has the fingerprint of its samples and `layouts` how they
    are spread over shards.
    """

    plan: PoolPlan
    artifacts: dict[int, str]
    layouts: dict[int, ShardLayout]
    payload: Payload


@dataclass(frozen=True, eq=False)
class Batch:
    """What one rank sees in one step. The arrays are writable and share no memory with what was read.

    `payload` is (B, *payload.shape) of the payload's dtype, `is_real` bool (B,), `sample_ids` int64 (B,),
    `generations` int32 (B,).
    """

    payload: np.ndarray
    is_real: np.ndarray
    sample_ids: np.ndarray
    generations: np.ndarray

    def __len__(self) -> int:
        return len(self.is_real)


class ShardCache:
    """The decoded shards that were used last, up to a number of bytes."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._tables: OrderedDict[tuple[str, str, str], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, store: Store, fingerprint: str, name: str) -> pa.Table:
        """One shard of an artifact, checked against its record when it is read from the store.

        Raises:
            StoreError: the file is absent or altered.
            ShardError: the file is not a shard.
        """
        key = (store.uri, fingerprint, name)
        with self._lock:
            if key not in self._tables:
                table = decode_shard(store.read("samples", fingerprint, name))
                self._tables[key] = table
                self._num_bytes += table.nbytes
                while self._num_bytes > self._max_bytes:
                    _, oldest = self._tables.popitem(last=False)
                    self._num_bytes -= oldest.nbytes
                return table
            self._tables.move_to_end(key)
            return self._tables[key]


PROCESS_CACHE = ShardCache()
"""Shared by all tasks of one process: a small pool is read from the store once, however many epochs it lasts."""


def read_task(
    store: Store,
    pool: Pool,
    order: Order,
    task: ReadTask,
    rank: int,
    world_size: int,
    *,
    cache: ShardCache = PROCESS_CACHE,
) -> pa.Table:
    """The rows of one task that one rank sees, in its order; each shard is read once.

    Returns:
        Columns `payload` (flattened, fixed-size lists), `is_real`, `generation` and `sample_id`. All four are what the
        shards say, not what the plan expects of them.

    Raises:
        StoreError: a shard is absent or altered.
        ShardError: a shard holds something else than samples of the pool's payload.
    """
    wanted = order.rows(task, rank, world_size)
    num_rows = len(wanted.row)
    payload = np.empty((num_rows, *pool.payload.shape), dtype=pool.payload.dtype)
    is_real = np.empty(num_rows, dtype=bool)
    generation = np.empty(num_rows, dtype=np.int32)
    sample_id = np.empty(num_rows, dtype=np.int64)
    for read in _shard_reads(pool, wanted):
        shard = cache.read(store, read.fingerprint, read.name)
        payload[read.positions] = payload_array(shard, pool.payload)[read.rows]
        is_real[read.positions] = shard["origin"].to_numpy()[read.rows] == "real"
        generation[read.positions] = shard["generation"].to_numpy()[read.rows]
        sample_id[read.positions] = shard["sample_id"].to_numpy()[read.rows]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(payload.reshape(-1)), pool.payload.size)
    return pa.table({"payload": lists, "is_real": is_real, "generation": generation, "sample_id": sample_id})


def batches(tables: Iterable[pa.Table], batch_size: int, payload: Payload) -> Iterator[Batch]:
    """Cuts the rows of consecutive tables, which may have any sizes, into batches of exactly `batch_size`.

    Raises:
        ValueError: the rows end inside a batch, which no whole stage does.
    """
    pieces: list[Batch] = []
    missing = batch_size
    for table in tables:
        rows = _rows(table, payload)
        start = 0
        while start < len(rows):
            pieces.append(_slice(rows, start, start + missing))
            start += len(pieces[-1])
            missing -= len(pieces[-1])
            if missing == 0:
                yield _joined(pieces)
                pieces, missing = [], batch_size
    if pieces:
        raise ValueError(f"the stream ended {missing} rows short of a batch of {batch_size}")


def plain_stream(
    store: Store, pool: Pool, order: Order, rank: int, world_size: int, first_step: int = 0
) -> Iterator[Batch]:
    """One rank's batches from `first_step` on, B / W rows for each step, read in this process."""
    tables = (read_task(store, pool, order, task, rank, world_size) for task in order.read_tasks(first_step))
    return batches(tables, order.batch_size // world_size, pool.payload)


@dataclass(frozen=True, eq=False)
class _ShardRead:
    """Rows (N,) of one shard, and the positions (N,) where they are wanted."""

    fingerprint: str
    name: str
    rows: np.ndarray
    positions: np.ndarray


def _shard_reads(pool: Pool, wanted: PoolRows) -> Iterator[_ShardRead]:
    for number, part in enumerate(pool.plan.parts):
        layout = pool.layouts[part.generation]
        positions = np.flatnonzero(wanted.part == number)
        rows = part.rows[wanted.row[positions]]
        by_shard = np.argsort(layout.shard_of(rows), kind="stable")
        rows, positions = rows[by_shard], positions[by_shard]
        shards, first = np.unique(layout.shard_of(rows), return_index=True)
        groups = zip(shards.tolist(), np.split(rows, first[1:]), np.split(positions, first[1:]), strict=False)
        for shard, rows_of_shard, positions_of_shard in groups:
            start, _ = layout.bounds(shard)
            yield _ShardRead(
                pool.artifacts[part.generation], layout.name(shard), rows_of_shard - start, positions_of_shard
            )


def _rows(table: pa.Table, payload: Payload) -> Batch:
    """The columns of a table as arrays, without a copy where they have one chunk (then read-only)."""
    lists = pa.concat_arrays(table["payload"].chunks) if table.num_rows else pa.array([], table["payload"].type)
    return Batch(
        payload=lists.flatten().to_numpy().reshape(-1, *payload.shape),
        is_real=table["is_real"].to_numpy(),
        sample_ids=table["sample_id"].to_numpy(),
        generations=table["generation"].to_numpy(),
    )


def _slice(rows: Batch, start: int, stop: int) -> Batch:
    return Batch(
        rows.payload[start:stop], rows.is_real[start:stop], rows.sample_ids[start:stop], rows.generations[start:stop]
    )


def _joined(pieces: list[Batch]) -> Batch:
    return Batch(
        np.concatenate([piece.payload for piece in pieces]),
        np.concatenate([piece.is_real for piece in pieces]),
        np.concatenate([piece.sample_ids for piece in pieces]),
        np.concatenate([piece.generations for piece in pieces]),
    )
