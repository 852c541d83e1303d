"""Compares what a rank was trained on with what was planned."""

import numpy as np

from collapse_ray.config.errors import RunFailed
from collapse_ray.data.order import Order


class PlanMismatch(RunFailed):
    """Training saw other rows than the plan says; the generation must not be published."""


class OriginAudit:
    """Counts one rank's rows by origin and holds the counts against the order's, window by window.

    The counts come from the origin column of the rows themselves, the expectation from the plan alone, so whatever
    lies between the two (files, readers, Ray Data) is covered. A total would hide rows that came too early or on
    another rank; a window of steps does not.
    """

    def __init__(self, order: Order, rank: int, world_size: int, *, window_steps: int, first_step: int = 0) -> None:
        """Starts an audit.

        Args:
            order: the planned order of the whole stage.
            rank: the rank whose rows are counted, of `world_size`.
            world_size: number of ranks, which divides the batch size.
            window_steps: a comparison is made after every step whose number is one less than a multiple of it.
            first_step: the first step that this rank takes; later than 0 where a stage is resumed.
        """
        self._order = order
        self._rank = rank
        self._world_size = world_size
        self._window_steps = window_steps
        self._next_step = first_step
        self._window_start = first_step
        self._window_real = 0
        # The steps before a resume were compared when they were taken.
        self.num_real_seen = order.expected_real(rank, world_size, 0, first_step) if first_step else 0
        self.num_synthetic_seen = first_step * order.batch_size // world_size - self.num_real_seen

    def update(self, step: int, is_real: np.ndarray) -> None:
        """Counts the rows of one step, and compares when a window or the stage ends with it.

        Args:
            step: number of the step; each one comes once and in order.
            is_real: bool (B / W,).

        Raises:
            PlanMismatch: a step is missing or repeated, has another number of rows, or the counts differ.
        """
        if step != self._next_step:
            raise PlanMismatch(f"rank {self._rank}: step {self._next_step} was expected, step {step} came")
        num_planned = self._order.batch_size // self._world_size
        if len(is_real) != num_planned:
            raise PlanMismatch(f"rank {self._rank}, step {step}: {num_planned} rows were planned, {len(is_real)} came")
        num_real = int(np.count_nonzero(is_real))
        self._window_real += num_real
        self.num_real_seen += num_real
        self.num_synthetic_seen += num_planned - num_real
        self._next_step = step + 1
        if self._next_step % self._window_steps == 0 or self._next_step == self._order.num_steps:
            self._compare()

    def finish(self) -> None:
        """Ends the audit.

        Raises:
            PlanMismatch: the stage was cut short.
        """
        if self._next_step != self._order.num_steps:
            raise PlanMismatch(
                f"rank {self._rank}: training ended after step {self._next_step - 1}, "
                f"{self._order.num_steps} steps were planned"
            )

    def _compare(self) -> None:
        first, last = self._window_start, self._next_step
        expected = self._order.expected_real(self._rank, self._world_size, first, last)
        num_rows = (last - first) * self._order.batch_size // self._world_size
        if self._window_real != expected:
            raise PlanMismatch(
                f"rank {self._rank}, steps {first} to {last - 1}: {expected} real and {num_rows - expected} synthetic "
                f"rows were planned, {self._window_real} and {num_rows - self._window_real} were seen"
            )
        self._window_start, self._window_real = last, 0
