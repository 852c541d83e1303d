"""The always-valid test against reference tests, and its false alarms against what it promises."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from collapse_ray.search.sequential import adjusted, contrasts, spent
from collapse_ray.search.verdict import since_first

RATE = 0.05
ARMS = 2000


def margin_of_chance(arms: int = ARMS) -> float:
    """A share of alarms that a test of exactly the rate exceeds once in 10,000 simulations."""
    return float(stats.binom.isf(1e-4, arms, RATE)) / arms


def alarms(values: np.ndarray, variances: np.ndarray | None = None) -> np.ndarray:
    """Whether each look (N, T) finds a generation worse than the first."""
    looks = np.arange(values.shape[-1])
    found = contrasts(values, since_first(looks), variances, known=False)
    return adjusted(found.p_above(0.0), looks) <= RATE


def noise(num_replicates: int, depth: int, arms: int = ARMS) -> np.ndarray:
    return np.random.default_rng([num_replicates, depth]).standard_normal((arms, num_replicates, depth))


def handed_down(values: np.ndarray) -> np.ndarray:
    """The same marginals, each generation's noise 0.9 times that of the one before and some of its own."""
    values = values.copy()
    for t in range(1, values.shape[-1]):
        values[..., t] = 0.9 * values[..., t - 1] + sqrt(1 - 0.9**2) * values[..., t]
    return values


def lasting(values: np.ndarray) -> np.ndarray:
    return values + 3 * np.random.default_rng(1).standard_normal((*values.shape[:-1], 1))


def shared_first(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[..., 0] = 0
    return values


def test_levels_sum_to_the_rate() -> None:
    """1 / (k (k + 1)) telescopes: the first 999 sum to 0.999."""
    assert spent(RATE, np.arange(1.0, 1000)).sum() == pytest.approx(0.999 * RATE)


def test_look_at_generation_2_is_the_two_sample_t_test() -> None:
    values = np.random.default_rng(0).normal([0, 1], size=(4, 2))
    found = contrasts(values, since_first(np.arange(2)), None, known=False)
    _, p_value = stats.ttest_ind(values[:, 1], values[:, 0], alternative="greater")
    assert found.p_above(0.0)[1] == pytest.approx(p_value)
    interval = stats.ttest_ind(values[:, 1], values[:, 0]).confidence_interval(0.9)
    assert found.value[1] - found.margin(np.array([0.05, 0.05]))[1] == pytest.approx(interval.low)


def test_later_looks_pool_all_generations() -> None:
    """The F test of a contrast in a one-way layout, whose error is the mean square within generations."""
    values = np.random.default_rng(1).normal(size=(3, 5))
    found = contrasts(values, since_first(np.arange(5)), None, known=False)
    within = sum(((values[:, i] - values[:, i].mean()) ** 2).sum() for i in range(5)) / (2 * 5)
    t = (values[:, 4].mean() - values[:, 0].mean()) / sqrt(within * 2 / 3)
    assert found.p_above(0.0)[4] == pytest.approx(stats.t.sf(t, 10))


def test_one_replicate_has_its_sampling_error_only() -> None:
    values, variances = np.array([[1.0, 1.5]]), np.array([[0.09, 0.16]])
    found = contrasts(values, since_first(np.arange(2)), variances, known=False)
    assert found.p_above(0.0)[1] == pytest.approx(stats.norm.sf(0.5 / 0.5))
    assert found.p_below(2.0)[1] == pytest.approx(stats.norm.sf(1.5 / 0.5))


def test_two_errors_give_the_larger_p_value_and_the_wider_interval() -> None:
    values = np.random.default_rng(2).normal(size=(3, 4))
    weights, level = since_first(np.arange(4)), np.full(4, 0.01)
    for scale in (1e-3, 1e3):
        variances = np.full_like(values, scale)
        both = contrasts(values, weights, variances, known=False)
        either = [contrasts(values, weights, None, known=False), contrasts(values, weights, variances, known=True)]
        assert both.p_above(0.0)[3] == max(found.p_above(0.0)[3] for found in either)
        assert both.margin(level)[3] == max(found.margin(level)[3] for found in either)


@pytest.mark.parametrize("values", [[[1.0, 5.0]], [[1.0, 5.0], [1.0, 5.0], [1.0, 5.0]], [[0.1, 0.3]] * 3])
def test_nothing_is_certain_where_no_error_is_known(values: list[list[float]]) -> None:
    """One replicate without a sampling error, or replicates that agree exactly."""
    found = contrasts(np.array(values), since_first(np.arange(2)), None, known=False)
    assert found.p_above(0.0)[1] == found.p_below(9.0)[1] == 1
    assert found.margin(np.array([0.05, 0.05]))[1] == np.inf


def test_later_generations_change_nothing_before() -> None:
    values = noise(3, 30, arms=1)[0]
    whole, part = (
        adjusted(
            contrasts(v, since_first(np.arange(v.shape[-1])), None, known=False).p_above(0.1), np.arange(v.shape[-1])
        )
        for v in (values, values[:, :12])
    )
    assert whole[:12] == pytest.approx(part, abs=0)


@pytest.mark.parametrize("num_replicates", [1, 2, 3, 5])
@pytest.mark.parametrize("depth", [20, 200])
def test_false_alarms_of_healthy_arms(num_replicates: int, depth: int) -> None:
    values = noise(num_replicates, depth)
    variances = np.ones_like(values) if num_replicates == 1 else None
    assert alarms(values, variances).any(axis=1).mean() <= margin_of_chance()


@pytest.mark.parametrize("change", [handed_down, lasting, shared_first])
@pytest.mark.parametrize("num_replicates", [2, 3])
def test_false_alarms_where_noise_is_not_independent(
    change: Callable[[np.ndarray], np.ndarray], num_replicates: int
) -> None:
    assert alarms(change(noise(num_replicates, 100))).any(axis=1).mean() <= margin_of_chance()


def test_a_fixed_sample_test_at_every_look_is_caught() -> None:
    """The planted mistake: the z test of one look, looked at after each of 20 generations."""
    mean = noise(3, 20).mean(axis=1)
    broken = (mean - mean[:, :1]) / sqrt(2 / 3) > stats.norm.isf(RATE)
    assert broken[:, 1:].any(axis=1).mean() > 5 * margin_of_chance()


def test_intervals_cover_the_truth_at_all_looks_at_once() -> None:
    truth = np.linspace(0, 3, 40)
    looks = np.arange(40)
    found = contrasts(noise(3, 40) + truth, since_first(looks), None, known=False)
    low = found.value - found.margin(spent(RATE, np.maximum(looks, 1)))
    assert (low[:, 1:] > truth[1:]).any(axis=1).mean() <= margin_of_chance()
