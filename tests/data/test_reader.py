"""Reading a pool back row for row, and an audit that notices one wrong row."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record, StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.audit import OriginAudit, PlanMismatch
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch, Pool, ShardCache, batches, plain_stream, read_task
from collapse_ray.data.regime import Part, PoolPlan
from collapse_ray.data.shards import ShardLayout, encode_shard

PAYLOAD = Payload("image", (1, 2, 3))
LAYOUTS = {0: ShardLayout(100, 16), 1: ShardLayout(40, 40), 3: ShardLayout(70, 9)}
PLAN = PoolPlan((Part(0, np.arange(0, 100, 2)), Part(1, np.arange(40)), Part(3, np.arange(5, 66))))
"""50 real rows of 100, all 40 samples of generation 1, 61 of the 70 of generation 3."""


@dataclass(frozen=True)
class Made:
    """A store with three sample sets, the pool over them, and their payloads and ids by generation."""

    store: Store
    pool: Pool
    payloads: dict[int, np.ndarray]
    sample_ids: dict[int, np.ndarray]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    store = Store(str(tmp_path_factory.mktemp("store")))
    rng = np.random.default_rng(0)
    payloads = {t: rng.integers(0, 256, (n.num_samples, 1, 2, 3), dtype=np.uint8) for t, n in LAYOUTS.items()}
    sample_ids = {t: rng.permutation(1000)[: layout.num_samples] for t, layout in LAYOUTS.items()}
    artifacts = {t: publish(store, t, LAYOUTS[t], payloads[t], sample_ids[t]) for t in LAYOUTS}
    return Made(store, Pool(PLAN, artifacts, LAYOUTS, PAYLOAD), payloads, sample_ids)


def publish(store: Store, generation: int, layout: ShardLayout, payloads: np.ndarray, ids: np.ndarray) -> str:
    identity = {"generation": generation}
    attempt = store.begin("samples", fingerprint(identity))
    files = []
    for shard in range(layout.num_shards):
        span = slice(*layout.bounds(shard))
        origin = "real" if generation == 0 else "synthetic"
        content = encode_shard(PAYLOAD, ids[span], origin, generation, "maker", payloads[span])
        files.append(store.write(attempt, layout.name(shard), content))
    store.publish(attempt, Record("samples", attempt.fingerprint, identity, {}, tuple(files), 0.0))
    return attempt.fingerprint


def order_of(plan: PoolPlan = PLAN, **fields: int) -> Order:
    return Order.of(plan, **{"seed": 5, "generation": 4, "batch_size": 12, "num_steps": 40, "window": 50, **fields})


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 2, 3, 4]), st.data(), st.integers(0, 39), st.integers(1, 400))
def test_batches_are_the_rows_that_indexing_gives(
    made: Made, world_size: int, data: st.DataObject, first_step: int, window: int
) -> None:
    rank = data.draw(st.integers(0, world_size - 1))
    order = order_of(window=window)
    planned = [order.rows(task, rank, world_size) for task in order.read_tasks(first_step)]
    part = np.concatenate([rows.part for rows in planned])
    row = np.concatenate([rows.row for rows in planned])
    stream = list(plain_stream(made.store, made.pool, order, rank, world_size, first_step))
    assert [len(batch) for batch in stream] == [12 // world_size] * (40 - first_step)
    for number, batch in enumerate(stream):
        for place in range(len(batch)):
            index = number * len(batch) + place
            source = PLAN.parts[part[index]]
            source_row = source.rows[row[index]]
            assert np.array_equal(batch.payload[place], made.payloads[source.generation][source_row])
            assert batch.sample_ids[place] == made.sample_ids[source.generation][source_row]
            assert batch.generations[place] == source.generation
            assert batch.is_real[place] == (source.generation == 0)


def test_an_epoch_holds_exactly_the_planned_samples(made: Made) -> None:
    order = order_of(batch_size=151, num_steps=1)
    (batch,) = plain_stream(made.store, made.pool, order, 0, 1)
    for part in PLAN.parts:
        ids = batch.sample_ids[batch.generations == part.generation]
        assert sorted(ids) == sorted(made.sample_ids[part.generation][part.rows])
    assert batch.is_real.sum() == PLAN.num_real


def test_batches_have_the_declared_types_and_can_be_written(made: Made) -> None:
    batch = next(plain_stream(made.store, made.pool, order_of(), 0, 2))
    columns = (batch.payload, batch.is_real, batch.sample_ids, batch.generations)
    assert [str(column.dtype) for column in columns] == ["uint8", "bool", "int64", "int32"]
    assert batch.payload.shape == (6, 1, 2, 3)
    assert all(column.flags.writeable for column in columns)


class CountingStore(Store):
    """Notes every file that is read."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.names: list[tuple[str, str]] = []

    def read(self, kind, of: str, name: str) -> bytes:
        self.names.append((of, name))
        return super().read(kind, of, name)


@pytest.mark.slow
@pytest.mark.parametrize(("max_bytes", "reads_per_shard"), [(2**20, 1), (0, 20)])
def test_shards_are_read_once_for_a_task_and_for_all_while_they_fit(
    made: Made, max_bytes: int, reads_per_shard: int
) -> None:
    """The pool touches all 7 real shards, the one of generation 1 and all 8 of generation 3; 20 tasks of an epoch."""
    store, cache = CountingStore(made.store.uri), ShardCache(max_bytes)
    order = order_of(batch_size=151, num_steps=20, window=151)
    for task in order.read_tasks():
        read_task(store, made.pool, order, task, 0, 1, cache=cache)
    assert len(set(store.names)) == 16
    assert len(store.names) == 16 * reads_per_shard


def test_the_cache_drops_what_was_used_least_recently(made: Made) -> None:
    store, of = CountingStore(made.store.uri), made.pool.artifacts[3]
    names = [LAYOUTS[3].name(shard) for shard in range(3)]
    cache = ShardCache(max_bytes=int(2.5 * ShardCache().read(made.store, of, names[0]).nbytes))
    for shard in (0, 1, 0, 2, 0, 1):
        cache.read(store, of, names[shard])
    assert [name for _, name in store.names] == [names[shard] for shard in (0, 1, 2, 1)]


def test_an_altered_shard_is_not_trained_on(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    of = publish(store, 0, ShardLayout(8, 4), np.zeros((8, 1, 2, 3), dtype=np.uint8), np.arange(8))
    file = tmp_path / "artifacts" / "samples" / of / "shard-00001.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    plan = PoolPlan((Part(0, np.arange(8)),))
    pool = Pool(plan, {0: of}, {0: ShardLayout(8, 4)}, PAYLOAD)
    with pytest.raises(StoreError, match="altered"):
        next(plain_stream(store, pool, order_of(plan, batch_size=8), 0, 1))


def tables_of(sizes: list[int]) -> Iterator[pa.Table]:
    start = 0
    for size in sizes:
        ids = np.arange(start, start + size)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, 2).astype(np.float64)), 2)
        yield pa.table(
            {
                "payload": lists,
                "is_real": ids % 3 == 0,
                "generation": ids.astype(np.int32),
                "sample_id": ids,
            }
        )
        start += size


@settings(deadline=None)
@given(st.lists(st.integers(0, 25), max_size=8), st.integers(1, 12))
def test_tables_of_any_size_become_batches_of_one_size(sizes: list[int], batch_size: int) -> None:
    sizes = [*sizes, -sum(sizes) % batch_size]
    found: list[Batch] = list(batches(tables_of(sizes), batch_size, Payload("vector", (2,))))
    assert [len(batch) for batch in found] == [batch_size] * (sum(sizes) // batch_size)
    for number, batch in enumerate(found):
        ids = np.arange(number * batch_size, (number + 1) * batch_size)
        assert np.array_equal(batch.sample_ids, ids)
        assert np.array_equal(batch.payload, np.stack([ids, ids], axis=1))
        assert np.array_equal(batch.is_real, ids % 3 == 0)


def test_slices_and_chunks_of_tables_keep_their_rows() -> None:
    table = pa.concat_tables([*tables_of([5, 7, 4])]).slice(3, 10)
    (batch,) = batches([table], 10, Payload("vector", (2,)))
    assert np.array_equal(batch.payload[:, 1], np.arange(3, 13))


def test_a_stream_that_ends_inside_a_batch_is_an_error() -> None:
    stream = batches(tables_of([7, 4]), 4, Payload("vector", (2,)))
    with pytest.raises(ValueError, match="1 rows short of a batch of 4"):
        list(stream)


def audit_all(order: Order, stream: list[Batch], rank: int, world_size: int, first_step: int = 0) -> OriginAudit:
    audit = OriginAudit(order, rank, world_size, window_steps=7, first_step=first_step)
    for step, batch in enumerate(stream, start=first_step):
        audit.update(step, batch.is_real)
    audit.finish()
    return audit


def test_the_audit_passes_what_was_planned_and_counts_it(made: Made) -> None:
    order = order_of(batch_size=12, num_steps=151)
    audits = [audit_all(order, list(plain_stream(made.store, made.pool, order, rank, 3)), rank, 3) for rank in range(3)]
    assert sum(audit.num_real_seen for audit in audits) == 12 * PLAN.num_real
    assert sum(audit.num_synthetic_seen for audit in audits) == 12 * PLAN.num_synthetic
    whole = audit_all(order, list(plain_stream(made.store, made.pool, order, 1, 3)), 1, 3)
    resumed = list(plain_stream(made.store, made.pool, order, 1, 3, first_step=24))
    tail = audit_all(order, resumed, 1, 3, first_step=24)
    assert (tail.num_real_seen, tail.num_synthetic_seen) == (whole.num_real_seen, whole.num_synthetic_seen)


@pytest.mark.parametrize("step", [0, 6, 7, 38, 39])
def test_the_audit_notices_one_real_row_in_place_of_a_synthetic_one(made: Made, step: int) -> None:
    order = order_of()
    stream = list(plain_stream(made.store, made.pool, order, 1, 2))
    planted = stream[step].is_real.copy()
    planted[np.flatnonzero(~planted)[0]] = True
    stream[step] = replace(stream[step], is_real=planted)
    first = step // 7 * 7
    with pytest.raises(PlanMismatch, match=rf"rank 1, steps {first} to {min(first + 6, 39)}: (\d+) real") as caught:
        audit_all(order, stream, 1, 2)
    seen = sum(int(batch.is_real.sum()) for batch in stream[first : first + 7])
    assert f": {seen - 1} real" in str(caught.value) and f", {seen} and" in str(caught.value)


def test_the_audit_notices_rows_that_came_in_another_window_or_on_another_rank(made: Made) -> None:
    order = order_of(window=151)
    stream = list(plain_stream(made.store, made.pool, order, 0, 2))
    with pytest.raises(PlanMismatch, match="rank 0, steps"):
        audit_all(order, stream[::-1], 0, 2)
    with pytest.raises(PlanMismatch, match="rank 1, steps"):
        audit_all(order, stream, 1, 2)


def test_the_audit_notices_missing_steps_and_rows(made: Made) -> None:
    order = order_of()
    stream = list(plain_stream(made.store, made.pool, order, 0, 1))
    with pytest.raises(PlanMismatch, match="training ended after step 37, 40 steps were planned"):
        audit_all(order, stream[:38], 0, 1)
    audit = OriginAudit(order, 0, 1, window_steps=7)
    with pytest.raises(PlanMismatch, match="step 0 was expected, step 1 came"):
        audit.update(1, stream[1].is_real)
    with pytest.raises(PlanMismatch, match="12 rows were planned, 11 came"):
        audit.update(0, stream[0].is_real[:11])
