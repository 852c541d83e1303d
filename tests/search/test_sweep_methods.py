"""Search methods and schedulers: draws, the question of a frontier search, and when a scheduler could act."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_sweep import sweep_of
from scipy import stats

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.axes import Axis, Range
from collapse_ray.search.frontier.search import FrontierSearch, Proposal
from collapse_ray.search.methods import frontier, random
from collapse_ray.search.spec import Sweep
from collapse_ray.search.verdicts import collapsing_variance

FRACTION = "regime.real_fraction"


# Random -------------------------------------------------------------------------------------------


def drawn(axis: Axis, num_points: int = 400) -> np.ndarray:
    return numbers(random.Spec(num_points=num_points).points({"x": axis}))


def numbers(points: list[dict[str, Any]]) -> np.ndarray:
    return np.array([point["x"] for point in points], dtype=float)


def test_a_range_is_drawn_evenly() -> None:
    values = drawn(Axis("x", range=Range(low=2.0, high=5.0)))
    assert stats.kstest(values, stats.uniform(2, 3).cdf).pvalue > 0.01


def test_a_log_range_is_drawn_evenly_in_the_logarithm() -> None:
    values = drawn(Axis("x", range=Range(low=1e-4, high=1.0, log=True)))
    assert stats.kstest(np.log10(values), stats.uniform(-4, 4).cdf).pvalue > 0.01


def test_whole_numbers_and_steps_are_all_drawn() -> None:
    assert set(drawn(Axis("x", range=Range(low=3, high=6), whole=True))) == {3, 4, 5, 6}
    assert set(drawn(Axis("x", range=Range(low=0, high=1, step=0.1)))) == {round(k / 10, 1) for k in range(11)}


def test_both_ends_of_whole_numbers_are_as_likely_as_the_others() -> None:
    axes = {"x": Axis("x", range=Range(low=1, high=4), whole=True)}
    draws = [random.Spec(num_points=1, seed=seed).points(axes)[0] for seed in range(400)]
    counts = np.bincount(numbers(draws).astype(int), minlength=5)[1:]
    assert stats.chisquare(counts).pvalue > 0.01


def test_more_points_keep_those_that_there_were() -> None:
    axes = {"a": Axis("a", choices=("x", "y", "z")), "b": Axis("b", range=Range(low=0, high=1))}
    assert random.Spec(num_points=9).points(axes) == random.Spec(num_points=20).points(axes)[:9]


# Frontier -----------------------------------------------------------------------------------------


def frontier_sweep(folder: Path, search: dict[str, Any] | None = None, **keys: Any) -> Sweep:
    base = {"source": "normal", "family": "gaussian", "evaluate": {"metrics": ["variance_ratio", "real_test_loss"]}}
    axes = {"regime": ["mix", {"kind": "mix", "num_samples": 50}], FRACTION: {"low": 0, "high": 1, "step": 0.01}}
    asked = {"kind": "frontier", "axis": FRACTION, "verdict": "collapsing_variance", "precision": 0.1}
    return sweep_of(folder, **{"base": base, "axes": axes, "depth": 6, "search": {**asked, **(search or {})}, **keys})


def method(sweep: Sweep) -> frontier.Spec:
    assert isinstance(sweep.spec.search, frontier.Spec)
    return sweep.spec.search


def test_the_question_of_a_frontier_search(tmp_path: Path) -> None:
    sweep = frontier_sweep(tmp_path, seeds=[7], budget={"trials": 9, "joules": 1e5})
    problem = method(sweep).problem(sweep.asked, "vector")
    assert (problem.fraction.low, problem.fraction.high, problem.fraction.step) == (0.0, 1.0, 0.01)
    assert problem.arms == ((("regime", "mix"),), (("regime", "mix(num_samples=50)"),))
    assert (problem.depth, problem.seed, problem.precision) == (6, 7, 0.1)
    assert (problem.budget.trials, problem.budget.cost) == (9, 1e5)
    # The variance falls to half: the logarithm gets worse by log 2, of which less is healthier.
    assert (problem.threshold, problem.healthy) == (pytest.approx(math.log(2)), "below")


def test_the_tolerance_may_be_the_limit(tmp_path: Path) -> None:
    sweep = frontier_sweep(tmp_path, {"at": "collapsing"})
    assert method(sweep).problem(sweep.asked, "vector").threshold == pytest.approx(-math.log(0.9))


def test_a_response_is_the_worsening_since_generation_1(tmp_path: Path) -> None:
    sweep = frontier_sweep(tmp_path)
    response = method(sweep).response(sweep.asked, "vector")
    assert response.signal == collapsing_variance.Spec().vector
    assert response.of({"variance_ratio": 0.8}, {"variance_ratio": 0.8}) == 0
    assert response.of({"variance_ratio": 0.8}, {"variance_ratio": 0.2}) == pytest.approx(math.log(4))
    assert response.of({"variance_ratio": None}, {"variance_ratio": 0.2}) is None
    assert response.of({"variance_ratio": 0.8}, {"variance_ratio": None}) == math.inf


def test_a_proposal_is_a_point_that_a_lineage_takes(tmp_path: Path) -> None:
    sweep = frontier_sweep(tmp_path)
    search = FrontierSearch(method(sweep).problem(sweep.asked, "vector"))
    regimes = set()
    for key in "abcdefgh":
        proposal = search.propose(key)
        assert isinstance(proposal, Proposal)
        point = method(sweep).point(sweep.axes, proposal.values)
        regime = sweep.lineage(point, proposal.seed).regime.identity()
        assert regime["real_fraction"] == proposal.values[FRACTION]
        regimes.add(regime["num_samples"])
    assert regimes == {None, 50}


def test_further_ranges_are_dimensions_of_the_frontier(tmp_path: Path) -> None:
    axes = {FRACTION: {"low": 0, "high": 1}, "regime.num_samples": {"low": 20, "high": 200, "log": True}}
    base = {"source": "normal", "family": "gaussian", "regime": "mix", "evaluate": {"metrics": ["variance_ratio"]}}
    sweep = frontier_sweep(tmp_path, {"report_at": {"regime.num_samples": [20, 100]}}, axes=axes, base=base)
    problem = method(sweep).problem(sweep.asked, "vector")
    assert problem.asked == ((20.0,), (100.0,))
    assert (problem.others[0].step, problem.others[0].scale) == (1.0, "log")
    point = method(sweep).point(sweep.axes, {FRACTION: 0.5, "regime.num_samples": 57.0})
    assert point == {FRACTION: 0.5, "regime.num_samples": 57}
    assert type(point["regime.num_samples"]) is int


# Schedulers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 3, 6, 7, 18, 19])
@pytest.mark.parametrize("brackets", [1, 2, 3])
def test_asha_is_refused_where_tune_would_have_no_rung(tmp_path: Path, depth: int, brackets: int) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler  # noqa: PLC0415

    scheduler = AsyncHyperBandScheduler(
        time_attr="generation",
        metric="m",
        mode="min",
        max_t=depth,
        grace_period=2,
        reduction_factor=3,
        brackets=brackets,
    )
    rungs = [[rung for rung, _ in bracket._rungs if rung < depth] for bracket in scheduler._brackets]
    acts = all(rungs) and len(rungs) == brackets

    def asked() -> Sweep:
        return sweep_of(tmp_path, depth=depth, scheduler={"kind": "asha", "brackets": brackets})

    if acts:
        asked()
    else:
        with pytest.raises(InvalidInput, match="give a depth above"):
            asked()
