"""The order of training: every row once an epoch, the same for any number of workers, resumable, and well shuffled."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse_ray.data.order import Order, ReadTask
from collapse_ray.data.regime import Origin, Part, PoolPlan


def order_of(sizes: tuple[int, ...], *, num_steps: int, batch_size: int = 12, window: int = 20, seed: int = 0) -> Order:
    """An order over parts of which the first is real."""
    origins: tuple[Origin, ...] = ("real",) + ("synthetic",) * (len(sizes) - 1)
    return Order(sizes, origins, seed, 2, batch_size, num_steps, window)


def sequence(order: Order, rank: int = 0, world_size: int = 1, first_step: int = 0) -> np.ndarray:
    """All rows that a rank sees, as numbers 0..num_rows-1 over the parts in their order: (num_steps * B / W,)."""
    before = np.concatenate([[0], np.cumsum(order.plan_sizes)])
    rows = [order.rows(task, rank, world_size) for task in order.read_tasks(first_step)]
    return np.concatenate([before[piece.part] + piece.row for piece in rows])


@st.composite
def orders(draw: st.DrawFn) -> Order:
    sizes = tuple(draw(st.lists(st.integers(1, 60), min_size=1, max_size=5)))
    batch_size = draw(st.sampled_from([12, 24, 36]))
    window = draw(st.integers(1, 300))
    return order_of(
        sizes,
        num_steps=draw(st.integers(1, 25)),
        batch_size=batch_size,
        window=window,
        seed=draw(st.integers(0, 2**40)),
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(orders())
def test_each_epoch_is_a_permutation_of_the_pool(order: Order) -> None:
    seen = sequence(order)
    assert len(seen) == order.num_rows_seen
    for start in range(0, len(seen), order.num_rows):
        epoch = seen[start : start + order.num_rows]
        assert len(np.unique(epoch)) == len(epoch)
        assert epoch.min() >= 0 and epoch.max() < order.num_rows


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(orders(), st.sampled_from([2, 3, 4]))
def test_global_batches_do_not_depend_on_the_number_of_ranks(order: Order, world_size: int) -> None:
    alone = sequence(order).reshape(order.num_steps, order.batch_size)
    ranks = [sequence(order, rank, world_size).reshape(order.num_steps, -1) for rank in range(world_size)]
    assert np.array_equal(np.concatenate(ranks, axis=1), alone)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(orders(), st.data(), st.sampled_from([1, 2, 3]))
def test_a_resumed_stage_is_the_tail_of_the_whole(order: Order, data: st.DataObject, world_size: int) -> None:
    first_step = data.draw(st.integers(0, order.num_steps - 1))
    rank = data.draw(st.integers(0, world_size - 1))
    whole = sequence(order, rank, world_size)
    tail = sequence(order, rank, world_size, first_step)
    assert np.array_equal(tail, whole[first_step * order.batch_size // world_size :])
    cuts = {task.stop for task in order.read_tasks()}
    assert {task.stop for task in order.read_tasks(first_step)} == {
        c for c in cuts if c > first_step * order.batch_size
    }


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(orders(), st.data(), st.sampled_from([1, 2, 3]))
def test_expected_real_counts_what_comes(order: Order, data: st.DataObject, world_size: int) -> None:
    first = data.draw(st.integers(0, order.num_steps))
    last = data.draw(st.integers(first, order.num_steps))
    for rank in range(world_size):
        steps = sequence(order, rank, world_size).reshape(order.num_steps, -1)[first:last]
        assert order.expected_real(rank, world_size, first, last) == (steps < order.plan_sizes[0]).sum()


@settings(max_examples=100, deadline=None)
@given(orders())
def test_tasks_tile_the_stage_and_are_about_a_window(order: Order) -> None:
    tasks = list(order.read_tasks())
    assert tasks[0].start == 0 and tasks[-1].stop == order.num_rows_seen
    assert all(one.stop == other.start for one, other in itertools.pairwise(tasks))
    assert all(0 < task.stop - task.start <= order.window + len(order.plan_sizes) for task in tasks)
    if order.num_windows == 1 and len(tasks) > 1:
        assert tasks[0].stop > order.window / 2


def test_small_epochs_share_a_task_of_whole_epochs() -> None:
    tasks = list(order_of((6, 4), num_steps=10, batch_size=10, window=35).read_tasks())
    assert tasks == [ReadTask(0, 30), ReadTask(30, 60), ReadTask(60, 90), ReadTask(90, 100)]
    assert next(order_of((6, 4), num_steps=10, batch_size=10, window=35).read_tasks(4)) == ReadTask(40, 60)


def test_every_window_has_every_part_in_proportion_and_in_one_chunk() -> None:
    sizes = (1000, 333, 41, 5)
    order = order_of(sizes, num_steps=1379 * 3 // 7, batch_size=7, window=100)
    tasks = list(order.read_tasks())
    assert order.num_windows == 14 and len(tasks) == 3 * 14
    firsts = []
    for task in tasks:
        rows = order.rows(task, 0, 1)
        for part, size in enumerate(sizes):
            mine = np.sort(rows.row[rows.part == part])
            assert abs(len(mine) - size / order.num_windows) < 1
            assert len(mine) == 0 or mine[-1] - mine[0] == len(mine) - 1
        firsts.append(rows.row[rows.part == 0].min())
    epochs = np.reshape(firsts, (3, 14))
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.sort(epochs[0]), (3, 1)))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])


@pytest.mark.slow
def test_every_row_is_equally_likely_at_every_place() -> None:
    """The counts of 5 rows at 5 places have 16 degrees of freedom, as rows and columns sum to the number of epochs."""
    num_epochs = 6000
    epochs = sequence(order_of((3, 2), num_steps=num_epochs, batch_size=5)).reshape(num_epochs, 5)
    times = np.stack([np.bincount(place, minlength=5) for place in epochs.T])
    chi_square = ((times - num_epochs / 5) ** 2).sum() / (num_epochs / 5) * 4 / 5
    assert 0.001 < stats.chi2.sf(chi_square, 16) < 0.9999


@pytest.mark.slow
def test_chunks_are_equally_likely_in_every_window() -> None:
    """Three windows with one real row each: all six orders of the real rows come equally often."""
    num_epochs = 3000
    order = order_of((3, 2), num_steps=num_epochs, batch_size=5, window=2)
    assert order.num_windows == 3
    seen = sequence(order)
    real_rows = seen[seen < 3].reshape(num_epochs, 3)
    times = np.unique(real_rows @ np.array([9, 3, 1]), return_counts=True)[1]
    assert len(times) == 6
    assert 0.001 < stats.chisquare(times).pvalue < 0.9999


@pytest.mark.slow
def test_all_orders_of_a_small_pool_are_equally_likely() -> None:
    num_epochs = 6000
    epochs = sequence(order_of((3, 1), num_steps=num_epochs, batch_size=4)).reshape(num_epochs, 4)
    times = np.unique(epochs @ np.array([64, 16, 4, 1]), return_counts=True)[1]
    assert len(times) == 24
    assert 0.001 < stats.chisquare(times).pvalue < 0.9999


def test_seeds_generations_and_epochs_differ_and_nothing_else_does() -> None:
    order = order_of((30, 20), num_steps=10, batch_size=50, window=50)
    epochs = sequence(order).reshape(10, 50)
    assert len(np.unique(epochs, axis=0)) == 10
    for other in (
        Order((30, 20), order.origins, 1, 2, 50, 10, 50),
        Order((30, 20), order.origins, 0, 3, 50, 10, 50),
    ):
        assert not np.any(np.all(sequence(other).reshape(10, 50) == epochs, axis=1))
    rebatched = Order((30, 20), order.origins, 0, 2, 25, 20, 50)
    assert np.array_equal(sequence(rebatched), sequence(order))


def test_a_plan_gives_its_order() -> None:
    plan = PoolPlan((Part(0, np.array([1, 5])), Part(3, np.array([0, 2, 9]))))
    order = Order.of(plan, seed=4, generation=4, batch_size=2, num_steps=3, window=7)
    assert order == Order((2, 3), ("real", "synthetic"), 4, 4, 2, 3, 7)


def test_orders_and_tasks_travel_small() -> None:
    order = order_of((10**9, 10**9), num_steps=10**6, batch_size=1024, window=65_536)
    task = next(order.read_tasks(first_step=999_000))
    assert len(pickle.dumps((order, task))) < 1000
    assert pickle.loads(pickle.dumps(order)) == order
    rows = order.rows(task, 3, 8)
    assert abs(len(rows.row) - (task.stop - task.start) / 8) <= 128
    assert abs((rows.part == 0).mean() - 0.5) < 0.05
