"""Depths to follow lineages to, costs, and what a lineage is expected to tell."""

import numpy as np
import pytest

from collapse_ray.search.frontier.acquire import Prospects, expected_responses
from collapse_ray.search.frontier.cost import CostModel
from collapse_ray.search.frontier.depth import cheapest
from collapse_ray.search.frontier.forecast import SHARED
from collapse_ray.search.frontier.record import Lineage

GENERATIONS = np.array([4, 8, 16])


def test_forecasts_without_error_end_lineages_early() -> None:
    plan = cheapest(np.zeros(3), np.zeros(3), GENERATIONS, noise=1.0, target=0.01, costs=np.ones(30))
    assert plan.generations == 4
    assert plan.num_full == 1


def test_forecasts_that_tell_nothing_end_none() -> None:
    plan = cheapest(np.full(3, 10.0), np.full(3, 5.0), GENERATIONS, noise=1.0, target=0.04, costs=np.ones(30))
    assert (plan.generations, plan.num_full) == (30, 0)


def test_a_plan_keeps_the_asked_variance_and_no_other_is_cheaper() -> None:
    own, shared, noise, target = np.array([0.8, 0.4, 0.2]), np.array([0.4, 0.2, 0.1]), 1.0, 0.02
    plan = cheapest(own, shared, GENERATIONS, noise, target, np.ones(30))
    found = {}
    for index, generation in enumerate(GENERATIONS):
        for full in range(1, 61):
            for short in range(301):
                told, measured = short / (noise**2 + own[index] ** 2), full / noise**2
                left = shared[index] ** 2 / (1 + full * SHARED / (1 - SHARED))
                if 1 / (told + measured) + (told / (told + measured)) ** 2 * left <= target:
                    found[int(generation), full] = short * int(generation) + full * 30
                    break
    best = min(found.values())
    # The numbers of lineages are tried on a coarse scale.
    assert found[plan.generations, plan.num_full] <= 1.1 * best


def test_costs_grow_as_they_were_seen_to() -> None:
    """Pools that grow with the generation cost in proportion; another arm costs three times as much."""
    arms = ((("regime", "mix"),), (("regime", "accumulate"),))
    lineages = [
        Lineage(f"{arm}{unit}", arm, (unit,), (unit,), 0, costs={g: (1 + 2 * index) * 5.0 * g for g in range(1, 13)})
        for index, arm in enumerate(arms)
        for unit in (0.2, 0.8)
    ]
    lineages[0].costs[1] = 0.0  # found in the store
    costs = CostModel(arms, lineages).per_generation(arms[1], np.array([[0.5]]), 20)
    np.testing.assert_allclose(costs[0], 15.0 * np.arange(1, 21), rtol=0.15)
    assert CostModel(arms, []).per_generation(arms[0], np.zeros((2, 1)), 3).tolist() == [[1.0] * 3] * 2


def test_expected_responses_are_those_of_clipped_normals() -> None:
    z, rng = np.array([[-1.0, 0.0, 2.0]]), np.random.default_rng(0)
    means, variances = expected_responses(z, 1.2, 1.5)
    drawn = np.clip(z + 1.2 * rng.standard_normal((200_000, 3)), -1.5, 1.5)
    np.testing.assert_allclose(means[0], drawn.mean(0), atol=0.03)
    np.testing.assert_allclose(variances[0], drawn.var(0), atol=0.03)


def test_prospects_follow_conditioning() -> None:
    """With a linear curve and normal draws the fall of the variance is exact: cov^2 / (var + noise)."""
    rng = np.random.default_rng(1)
    frontier = rng.normal(0.5, 0.1, 4000)
    means = -3 * (frontier[:, None] - np.array([0.4, 0.5, 0.6]))
    noise = np.full_like(means, 0.25)
    alone = Prospects(frontier[:, None], means, noise, [])
    variance = frontier.var(ddof=1)
    assert alone.gains[1] == pytest.approx((3 * variance) ** 2 / (9 * variance + 0.25))
    one_runs = Prospects(frontier[:, None], means, noise, [1])
    assert one_runs.after_running[0] == pytest.approx(variance - alone.gains[1])
    assert one_runs.gains[1] < alone.gains[1]
