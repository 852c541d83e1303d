"""The order of training as a pure function: which row of the pool each rank sees at each step.

A stage of training is one long sequence of rows, epoch after epoch; step s takes the positions [s * B, (s + 1) * B) of
it. The sequence depends on the seed and the pool and not on the number of workers, and any position can be computed
without those before it, so a stage resumes at any step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np

from collapse_ray.config.noise import generator
from collapse_ray.data.regime import Origin, PoolPlan

WINDOW = 65_536


@dataclass(frozen=True)
class ReadTask:
    """Positions [start, stop) of a stage, whole shuffle windows but for the stage's ends.

    It names rows without holding them: whoever reads it computes them with `Order.rows`.
    """

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class PoolRows:
    """Rows of a pool: `part` numbers the plan's parts, `row` the rows within the part; both int64 (N,)."""

    part: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Order:
    """The sequence of rows of one training stage.

    A pool of at most `window` rows is permuted uniformly in every epoch. A larger one is cut into
    `num_windows` windows: each part is cut into as many contiguous chunks, a window gets one chunk of each part, which
    chunk is drawn anew in every epoch, and the window's rows are permuted. So every window holds every part in
    proportion, to one row, and touches few shards, and each row is equally likely to come in any window.
    """

    plan_sizes: tuple[int, ...]
    """Rows of each part of the plan."""
    origins: tuple[Origin, ...]
    """Origin of each part."""
    seed: int
    generation: int
    batch_size: int
    """Rows of one step, over all ranks."""
    num_steps: int
    window: int = WINDOW
    """Rows that are shuffled among each other."""

    @classmethod
    def of(
        cls, plan: PoolPlan, *, seed: int, generation: int, batch_size: int, num_steps: int, window: int = WINDOW
    ) -> Self:
        """The order in which `generation` trains on the pool of `plan`."""
        sizes = tuple(len(part.rows) for part in plan.parts)
        origins: tuple[Origin, ...] = tuple(part.origin for part in plan.parts)
        return cls(sizes, origins, seed, generation, batch_size, num_steps, window)

    @cached_property
    def num_rows(self) -> int:
        """Rows of the pool: one epoch."""
        return sum(self.plan_sizes)

    @property
    def num_windows(self) -> int:
        """Shuffle windows in one epoch."""
        return -(-self.num_rows // self.window)

    @property
    def num_rows_seen(self) -> int:
        """Rows of the whole stage, repeats counted: the sequence ends with the last whole batch."""
        return self.num_steps * self.batch_size

    def read_tasks(self, first_step: int = 0) -> Iterator[ReadTask]:
        """The stage from `first_step` on, cut into tasks of about `window` rows over all ranks.

        A task is one window of a large pool, or as many whole epochs of a small one as fit into a window. All cuts but
        the first are where an uninterrupted stage has them.
        """
        start = first_step * self.batch_size
        while start < self.num_rows_seen:
            stop = min(self._end_of_task(start), self.num_rows_seen)
            yield ReadTask(start, stop)
            start = stop

    def rows(self, task: ReadTask, rank: int, world_size: int) -> PoolRows:
        """The rows of a task that `rank` sees, in its order; there may be none.

        Of every batch a rank takes the contiguous slice [rank * B / W, (rank + 1) * B / W): the batches of all ranks
        put together are the global batch. `world_size` W divides `batch_size` B.
        """
        pieces = list(self._pieces(task, rank, world_size))
        return PoolRows(np.concatenate([p.part for p in pieces]), np.concatenate([p.row for p in pieces]))

    def expected_real(self, rank: int, world_size: int, first_step: int, last_step: int) -> int:
        """Exact number of real rows that `rank` sees in steps [first_step, last_step)."""
        is_real = np.array([origin == "real" for origin in self.origins])
        span = ReadTask(first_step * self.batch_size, last_step * self.batch_size)
        return sum(int(is_real[piece.part].sum()) for piece in self._pieces(span, rank, world_size))

    def _end_of_task(self, position: int) -> int:
        epoch, inside = divmod(position, self.num_rows)
        if self.num_windows == 1:
            epochs_per_task = self.window // self.num_rows
            return (epoch // epochs_per_task + 1) * epochs_per_task * self.num_rows
        offsets = _epoch(self, epoch).offsets
        return epoch * self.num_rows + int(offsets[np.searchsorted(offsets, inside, side="right")])

    def _pieces(self, span: ReadTask, rank: int, world_size: int) -> Iterator[PoolRows]:
        """The rows of `rank` in each window that the span touches."""
        start = span.start
        while start < span.stop:
            epoch, inside = divmod(start, self.num_rows)
            offsets = _epoch(self, epoch).offsets
            window = int(np.searchsorted(offsets, inside, side="right")) - 1
            window_start = epoch * self.num_rows + int(offsets[window])
            stop = min(span.stop, epoch * self.num_rows + int(offsets[window + 1]))
            positions = np.arange(start, stop)
            rank_of = positions % self.batch_size // (self.batch_size // world_size)
            mine = positions[rank_of == rank] - window_start
            shuffled = _window(self, epoch, window)
            yield PoolRows(shuffled.part[mine], shuffled.row[mine])
            start = stop


@dataclass(frozen=True, eq=False)
class _Epoch:
    """How one epoch is cut: window k starts at `offsets[k]` (K + 1,) and gets chunk `chunks[p, k]` (P, K) of part p."""

    offsets: np.ndarray
    chunks: np.ndarray


@lru_cache(maxsize=4)
def _epoch(order: Order, epoch: int) -> _Epoch:
    num_parts, num_windows = len(order.plan_sizes), order.num_windows
    if num_windows == 1:
        return _Epoch(np.array([0, order.num_rows]), np.zeros((num_parts, 1), dtype=np.int64))
    chunks = np.stack(
        [
            generator(order.seed, order.generation, "order-chunks", epoch, part).permutation(num_windows)
            for part in range(num_parts)
        ]
    )
    sizes = _chunk_start(order, chunks + 1) - _chunk_start(order, chunks)
    return _Epoch(np.concatenate([[0], np.cumsum(sizes.sum(axis=0))]), chunks)


def _chunk_start(order: Order, chunks: np.ndarray) -> np.ndarray:
    """First row of each chunk (P, ...) in its part (P first): chunks of a part differ by at most one row."""
    return chunks * np.array(order.plan_sizes)[:, None] // order.num_windows


@lru_cache(maxsize=4)
def _window(order: Order, epoch: int, window: int) -> PoolRows:
    """All rows of one window in their order."""
    chunk = _epoch(order, epoch).chunks[:, [window]]
    starts = _chunk_start(order, chunk)[:, 0]
    ends = np.cumsum(_chunk_start(order, chunk + 1)[:, 0] - starts)
    shuffled = generator(order.seed, order.generation, "order", epoch, window).permutation(ends[-1])
    part = np.searchsorted(ends, shuffled, side="right")
    before = np.concatenate([[0], ends[:-1]])
    return PoolRows(part, starts[part] + shuffled - before[part])
