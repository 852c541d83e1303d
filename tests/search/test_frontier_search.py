"""The frontier search against lineages whose frontier is known: the response at a generation is a line plus noise."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.frontier.problem import FrontierSpec
from collapse_ray.search.frontier.search import MAX_FAILURES, FrontierSearch, Proposal

DEPTH = 12
ASKED = {
    "fraction": {"path": "fraction", "low": 0.0, "high": 1.0},
    "depth": DEPTH,
    "threshold": 0.0,
    "precision": 0.15,
}

Respond = Callable[[Mapping[str, Any], int, np.random.Generator], float]


def search_for(**fields: Any) -> FrontierSearch:
    return FrontierSearch(FrontierSpec.model_validate(ASKED | fields, strict=False))


def falls_below(frontier: float) -> Respond:
    """Half of the lineages at `frontier` end above 0; their losses gather evenly over the generations."""

    def respond(values: Mapping[str, Any], generation: int, rng: np.random.Generator) -> float:
        return 10.0 * (values["fraction"] - frontier) * generation / DEPTH + 0.3 * rng.standard_normal()

    return respond


def follow(search: FrontierSearch, key: str, proposal: Proposal, respond: Respond) -> None:
    rng = np.random.default_rng([proposal.seed, len(search.lineages)])
    for generation in range(1, DEPTH + 1):
        search.observe(key, generation, respond(proposal.values, generation, rng))
        if search.decide(key):
            break
    search.end(key)


def run(search: FrontierSearch, respond: Respond, most: int = 80) -> list[Frontier]:
    for number in range(most):
        proposal = search.propose(str(number))
        if proposal == "done":
            return search.frontiers()
        assert isinstance(proposal, Proposal)
        follow(search, str(number), proposal, respond)
    pytest.fail(f"not done after {most} lineages")


@pytest.mark.slow
def test_the_frontier_is_found_with_few_generations() -> None:
    search = search_for()
    (found,) = run(search, falls_below(0.37))
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= 0.37 <= found.upper
    assert found.width <= 0.15
    # Most lineages are far from the frontier or were told apart before the depth.
    assert search.num_generations < 0.75 * DEPTH * len(search.lineages)


@pytest.mark.slow
def test_each_choice_has_a_frontier_of_its_own() -> None:
    frontiers = {"mix": 0.7, "accumulate": 0.2}

    def respond(values: Mapping[str, Any], generation: int, rng: np.random.Generator) -> float:
        return falls_below(frontiers[values["regime"]])(values, generation, rng)

    search = search_for(categories={"regime": list(frontiers)})
    found = {dict(each.arm)["regime"]: each for each in run(search, respond, 160)}
    for regime, frontier in frontiers.items():
        lower, upper = found[regime].lower, found[regime].upper
        assert (0.0 if lower is None else lower) <= frontier <= (1.0 if upper is None else upper)
    seeds = [(lineage.arm, lineage.seed) for lineage in search.lineages.values()]
    assert len(seeds) == len(set(seeds))


@pytest.mark.slow
def test_it_is_not_done_while_a_lineage_runs_that_may_widen_the_interval() -> None:
    search = search_for()
    started = search.propose("late")
    assert isinstance(started, Proposal)
    number = 0
    while isinstance(proposal := search.propose(f"{number}"), Proposal):
        follow(search, f"{number}", proposal, falls_below(0.37))
        number += 1
    assert proposal == "wait"
    follow(search, "late", started, falls_below(0.37))
    while (proposal := search.propose(f"{number}")) != "done":
        assert isinstance(proposal, Proposal)
        follow(search, f"{number}", proposal, falls_below(0.37))
        number += 1
    assert all(search.is_precise(arm) for arm in search.spec.arms)


def test_it_goes_on_from_its_state_as_if_nothing_had_happened() -> None:
    search = search_for()
    for number in range(6):
        proposal = search.propose(str(number))
        assert isinstance(proposal, Proposal)
        follow(search, str(number), proposal, falls_below(0.6))
    again = search_for()
    again.restore(search.state())
    assert again.propose("next") == search.propose("next")
    assert again.frontiers() == search.frontiers()
    assert json.dumps(search.state(), default=list)


@pytest.mark.parametrize("budget", [{"trials": 5}, {"generations": 30}, {"cost": 60.0}])
def test_nothing_is_proposed_beyond_the_budget(budget: dict[str, Any]) -> None:
    search = search_for(budget=budget, precision=0.01)
    for number in range(80):
        proposal = search.propose(str(number))
        if proposal == "done":
            break
        assert isinstance(proposal, Proposal)
        rng = np.random.default_rng(number)
        for generation in range(1, DEPTH + 1):
            search.observe(str(number), generation, falls_below(0.4)(proposal.values, generation, rng), cost=2.0)
            if search.decide(str(number)):
                break
        search.end(str(number))
    spent = {"trials": len(search.lineages), "generations": search.num_generations, "cost": search.cost}
    ((name, limit),) = budget.items()
    assert limit <= spent[name] <= limit + (0 if name == "trials" else 2)
    assert search.exhausted


def test_a_divergence_is_a_collapse_and_ends_the_lineage() -> None:
    search = search_for()
    for number in range(8):
        key = str(number)
        proposal = search.propose(key)
        assert isinstance(proposal, Proposal)
        if proposal.values["fraction"] < 0.5:  # type: ignore[operator]  # a number: the axis is numeric
            search.observe(key, 1, 1.0)
            search.observe(key, 2, float("nan"))
            assert search.decide(key) == "diverged"
        else:
            for generation in range(1, DEPTH + 1):
                search.observe(key, generation, 1.0)
        search.end(key)
    (found,) = search.frontiers()
    assert found.lower is None or found.lower <= 0.5
    assert found.upper is None or found.upper >= 0.4
    assert found.estimate == pytest.approx(0.45, abs=0.25)


@pytest.mark.slow
def test_an_arm_that_only_fails_is_given_up() -> None:
    search = search_for(categories={"regime": ["broken", "mix"]})

    def respond(values: Mapping[str, Any], generation: int, rng: np.random.Generator) -> float:
        return falls_below(0.3)(values, generation, rng)

    for number in range(120):
        proposal = search.propose(str(number))
        if proposal == "done":
            break
        assert isinstance(proposal, Proposal)
        if proposal.values["regime"] == "broken":
            search.end(str(number), "failed")
        else:
            follow(search, str(number), proposal, respond)
    else:
        pytest.fail("the arm that fails was tried for ever")
    broken = [lineage for lineage in search.lineages.values() if dict(lineage.arm)["regime"] == "broken"]
    assert len(broken) == MAX_FAILURES
    assert [dict(each.arm)["regime"] for each in search.frontiers()] == ["mix"]


def test_a_lineage_that_was_not_proposed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="proposed no lineage 'x'"):
        search_for().observe("x", 1, 0.5)
