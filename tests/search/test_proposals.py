"""Where lineages come from: lists, Optuna and the frontier search, told by reports."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from plain_sweep import sweep_of

from collapse_ray.search.events import State
from collapse_ray.search.proposals import ForFrontier, Listed, Proposer
from collapse_ray.search.report import Report
from collapse_ray.search.trial import Trial

optuna_proposals = pytest.importorskip("collapse_ray.search.optuna_proposals", reason="needs collapse-ray[search]")

AXES = {"regime": ["mix"], "regime.real_fraction": {"low": 0.0, "high": 1.0}}


def optuna(folder: Path, **keys: Any) -> Any:
    search = {"kind": "optuna", "num_points": 12, "metric": "real_test_loss", **keys}
    return optuna_proposals.ByOptuna(sweep_of(folder, axes=AXES, search=search, seeds=[0, 1]))


def run(proposer: Proposer, lineages: list[tuple[str, Trial]], loss: Any) -> None:
    for key, trial in lineages:
        report = Report(1, "complete", {"real_test_loss": loss(trial)})
        proposer.observe(key, report)
        proposer.end(key, "complete", {})


def propose(proposer: Proposer, count: int, first: int = 0) -> list[tuple[str, Trial]]:
    trials = [(str(number), proposer.propose(str(number))) for number in range(first, first + count)]
    assert not any(isinstance(trial, str) for _, trial in trials), trials
    return trials  # type: ignore[return-value]  # checked above


def fraction(trial: Trial) -> float:
    value = trial.point["regime.real_fraction"]
    assert isinstance(value, float)
    return value


def test_every_seed_runs_at_each_of_optunas_points(tmp_path: Path) -> None:
    proposer = optuna(tmp_path)
    trials = [trial for _, trial in propose(proposer, 24)]
    assert proposer.propose("more") == "done"
    assert [trial.seed for trial in trials] == [0, 1] * 12
    points = [trial.point for trial in trials]
    assert points[::2] == points[1::2]
    assert all(point["regime"] == "mix" for point in points)
    assert len({fraction(trial) for trial in trials}) == 12


@pytest.mark.parametrize(("mode", "best"), [("min", 0.3), ("max", 0.9)])
def test_optuna_learns_from_the_mean_over_seeds(mode: str, best: float, tmp_path: Path) -> None:
    """One seed's loss pulls to 0.1, the other's to 0.5: their mean is best at 0.3."""
    proposer = optuna(tmp_path, num_points=40, mode=mode, sampler="tpe")
    sign = 1 if mode == "min" else -1
    shift = best - 0.3
    tried: list[float] = []
    for first in range(0, 80, 2):
        lineages = propose(proposer, 2, first)
        run(proposer, lineages, lambda trial: sign * (fraction(trial) - (0.1 + shift, 0.5 + shift)[trial.seed]) ** 2)
        tried.append(fraction(lineages[0][1]))
    late = sorted(abs(value - best) for value in tried[20:])
    assert late[len(late) // 2] < 0.15, "points drawn at random are 0.25 away"


def test_optuna_goes_on_from_its_state(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        return fraction(trial)

    whole, first, again = optuna(tmp_path), optuna(tmp_path), optuna(tmp_path)
    expected: list[float] = []
    for number in range(0, 24, 2):
        lineages = propose(whole, 2, number)
        run(whole, lineages, loss)
        expected.append(fraction(lineages[0][1]))
    for number in range(0, 10, 2):
        run(first, propose(first, 2, number), loss)
    half = propose(first, 1, 10)  # of the sixth point the second seed is to come
    again.restore(pickle.loads(pickle.dumps(first.state())))
    rest = half + propose(again, 1, 11)
    run(again, rest, loss)
    found = [fraction(rest[0][1])]
    for number in range(12, 24, 2):
        lineages = propose(again, 2, number)
        run(again, lineages, loss)
        found.append(fraction(lineages[0][1]))
    assert found == expected[5:]
    assert again.propose("more") == "done"


def test_optuna_hears_of_failures_and_divergence(tmp_path: Path) -> None:
    proposer = optuna(tmp_path, num_points=3)
    lineages = propose(proposer, 6)
    for key, _ in lineages[:2]:
        proposer.end(key, "failed", {})
        proposer.end(key, "failed", {})
    proposer.observe(lineages[2][0], Report(2, "diverged"))
    proposer.end(lineages[2][0], "diverged", {})
    run(proposer, lineages[3:], fraction)
    states = [trial.state.name for trial in proposer._searcher._ot_study.trials]
    assert states == ["FAIL", "PRUNED", "COMPLETE"]


def test_a_list_is_proposed_once_and_goes_on_from_its_state(tmp_path: Path) -> None:
    trials = sweep_of(tmp_path).trials()
    listed = Listed(trials)
    assert listed.propose("a") == trials[0]
    again = Listed(trials)
    again.restore(pickle.loads(pickle.dumps(listed.state())))
    assert [again.propose(key) for key in "bc"] == [*trials[1:], "done"]
    assert not again.is_open


@pytest.mark.slow
def test_the_frontier_search_is_told_worsenings(tmp_path: Path) -> None:
    """A lineage whose loss explodes is collapsed, one that stays is healthy: the frontier lies between them."""
    search = {"kind": "frontier", "axis": "regime.real_fraction", "precision": 0.1, "verdict": "catastrophic_risk"}
    sweep = sweep_of(tmp_path, axes=AXES, search=search)
    proposer = ForFrontier(sweep, "vector")
    frontier = 0.4
    for key in map(str, range(60)):
        trial = proposer.propose(key)
        if trial == "done":
            break
        assert isinstance(trial, Trial)
        proposer.end(key, follow(proposer, key, sweep.spec.depth, 30.0 * (frontier - fraction(trial))), {})
        again = ForFrontier(sweep, "vector")
        again.restore(pickle.loads(pickle.dumps(proposer.state())))
        proposer = again
    else:
        pytest.fail("the search asked for more than 60 lineages")
    assert not proposer.is_open
    (found,) = proposer.frontiers
    assert found.width <= 0.1
    assert found.lower is not None
    assert found.upper is not None
    threshold = sweep.spec.search.problem(sweep.asked, "vector").threshold  # type: ignore[attr-defined]
    assert found.lower <= frontier - threshold / (30.0 * (sweep.spec.depth - 1)) <= found.upper


def follow(proposer: Proposer, key: str, depth: int, per_generation: float) -> State:
    """Reports a lineage whose loss grows by so much per generation, until the search has seen enough."""
    for generation in range(1, depth + 1):
        loss = 1.0 + per_generation * (generation - 1)
        if proposer.observe(
            key,
            Report(generation, "running" if generation < depth else "complete", {"real_test_loss": loss}, cost_s=1.0),
        ):
            return "stopped"
    return "complete"
