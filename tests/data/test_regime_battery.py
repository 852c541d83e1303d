"""What every regime must keep, whoever adds it: a new file in the folder is tested without a line here.

A kind with required fields has an example below; any other must be constructible from its name alone.
"""

from typing import Any

import numpy as np
import pytest

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.regime import PoolPlan, RegimeSpec

EXAMPLES: dict[str, dict[str, Any]] = {
    "fresh": {"num_real": 9, "num_synthetic": 4, "real_weight": 0.4},
    "mix": {"real_fraction": 0.3},
    "single_shot": {"real_fraction": 0.3},
}

NUM_REAL = 50
SEED = 7


@pytest.fixture(params=RegimeSpec.kinds())
def regime(request: pytest.FixtureRequest) -> RegimeSpec:
    return RegimeSpec.resolve({"kind": request.param, **EXAMPLES.get(request.param, {})})


def depth_of(regime: RegimeSpec) -> int:
    """The deepest of a few depths that the regime allows."""
    for depth in (5, 4, 3, 2):
        try:
            regime.check(num_real=NUM_REAL, depth=depth)
        except InvalidInput:
            continue
        return depth
    raise AssertionError(f"{regime!r} allows no depth of at least 2")


def plans(regime: RegimeSpec, seed: int = SEED) -> list[PoolPlan]:
    generations = range(1, depth_of(regime) + 1)
    return [regime.plan(seed=seed, generation=generation, num_real=NUM_REAL) for generation in generations]


def test_pools_name_distinct_rows_that_exist(regime: RegimeSpec) -> None:
    for generation, plan in enumerate(plans(regime), start=1):
        numbers = [part.generation for part in plan.parts]
        assert numbers == sorted(set(numbers)) and numbers[-1] < generation
        for part in plan.parts:
            made = regime.num_to_generate(generation=part.generation, num_real=NUM_REAL)
            assert part.rows.dtype == np.int64
            assert part.rows[0] >= 0 and np.all(np.diff(part.rows) > 0)
            assert part.rows[-1] < (made if part.generation else NUM_REAL)


def test_generation_1_sees_real_rows_only(regime: RegimeSpec) -> None:
    first = plans(regime)[0]
    assert first.realised_real_fraction == 1
    assert (first.asked_real_fraction, first.real_weight) == (None, None)


def test_plans_are_a_function_of_their_arguments(regime: RegimeSpec) -> None:
    twin = RegimeSpec.resolve(regime.dump())
    assert twin == regime
    once, again = ([plan.identity() for plan in plans(each)] for each in (regime, twin))
    assert once == again


def test_some_generation_learns_from_another(regime: RegimeSpec) -> None:
    assert any(plan.num_synthetic for plan in plans(regime))
    assert any(regime.num_to_generate(generation=t, num_real=NUM_REAL) for t in range(1, depth_of(regime)))


def test_no_real_rows_are_refused(regime: RegimeSpec) -> None:
    with pytest.raises(InvalidInput):
        regime.check(num_real=0, depth=2)


def test_it_says_what_it_is(regime: RegimeSpec) -> None:
    assert type(regime).__doc__
    assert regime.identity()["kind"] == regime.kind
