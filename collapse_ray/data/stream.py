"""Ray Data carries a pool to one rank: read tasks run on the cluster, batches arrive in the planned order.

Every rank opens a stream of its own instead of sharing one `streaming_split`: starting a split costs seconds per
generation, and it deals blocks to whichever rank asks first, so that the mixing ratio would hold in total but not on
each rank.
"""

import logging
from collections.abc import Iterable, Iterator
from functools import cache, partial

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from collapse_ray.artifact.store import Store
from collapse_ray.data.order import Order
from collapse_ray.data.order import ReadTask as OrderTask
from collapse_ray.data.reader import Batch, Pool, batches, read_task


class PlannedPool(Datasource):
    """One read task for each task of the order; each yields exactly the rows that one rank sees."""

    def __init__(self, store: Store, pool: Pool, order: Order, rank: int, world_size: int, first_step: int) -> None:
        self._store, self._pool, self._order = store, pool, order
        self._rank, self._world_size, self._first_step = rank, world_size, first_step

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """The tasks of the order; the suggested parallelism would only change how often each shard is read."""
        row_bytes = self._pool.payload.size * np.dtype(self._pool.payload.dtype).itemsize
        # The plan names every row of the pool: it goes to the object store once, not into each task.
        shared = ray.put((self._store, self._pool, self._order))
        tasks = []
        for task in self._order.read_tasks(self._first_step):
            num_rows = (task.stop - task.start) // self._world_size
            metadata = BlockMetadata(num_rows=None, size_bytes=num_rows * row_bytes, input_files=None, exec_stats=None)

            tasks.append(ReadTask(partial(_read, shared, task, self._rank, self._world_size), metadata))
        return tasks


def _read(shared: ray.ObjectRef, task: OrderTask, rank: int, world_size: int) -> Iterator[pa.Table]:
    store, pool, order = ray.get(shared)
    yield read_task(store, pool, order, task, rank, world_size)


def ray_stream(store: Store, pool: Pool, order: Order, rank: int, world_size: int, first_step: int) -> Iterable[Batch]:
    """This rank's batches from `first_step` on, through Ray Data; the twin of `reader.plain_stream`."""
    _configure()
    dataset = ray.data.read_datasource(PlannedPool(store, pool, order, rank, world_size, first_step))
    tables = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    return batches(iter(tables), order.batch_size // world_size, pool.payload)


@cache
def _configure() -> None:
    # A line for every dataset, which is one for every generation and rank.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
