"""Plans of every regime: exact counts, exact rows, and what later plans may count on."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.regime import PoolPlan, RegimeSpec

SIZED = ("replace", "accumulate", "accumulate_subsample", "mix", "single_shot")
SHIPPED = (*SIZED, "augment_latest", "fresh")
ADAPTER: TypeAdapter[RegimeSpec] = TypeAdapter(RegimeSpec)


def regime(kind: str, **fields: object) -> RegimeSpec:
    return ADAPTER.validate_python({"kind": kind, **fields})


def sized(kind: str, num_samples: int | None, real_fraction: float) -> RegimeSpec:
    fraction = {"real_fraction": real_fraction} if kind in ("mix", "single_shot") else {}
    return regime(kind, num_samples=num_samples, **fraction)


def counts(plan: PoolPlan) -> dict[int, int]:
    return {part.generation: len(part.rows) for part in plan.parts}


@st.composite
def lineages(draw: st.DrawFn) -> tuple[RegimeSpec, int, int, int]:
    """A regime that passes its own check, with a seed, real rows and a depth."""
    kind = draw(st.sampled_from(SHIPPED))
    num_real = draw(st.integers(1, 60))
    depth = 2 if kind == "single_shot" else draw(st.integers(1, 6))
    if kind in SIZED:
        size = draw(st.none() | st.integers(1, num_real))
        spec = sized(kind, size, draw(st.floats(0, 1)))
    elif kind == "augment_latest":
        spec = regime(
            kind,
            num_real=draw(st.none() | st.integers(1, num_real)),
            num_synthetic=draw(st.none() | st.integers(1, 80)),
        )
    else:
        num_real *= depth
        spec = regime(kind, num_real=draw(st.integers(1, num_real // depth)), num_synthetic=draw(st.integers(0, 80)))
    spec.check(num_real=num_real, depth=depth)
    return spec, draw(st.integers(0, 2**31)), num_real, depth


def test_all_seven_regimes_are_found() -> None:
    assert set(SHIPPED) <= set(RegimeSpec.kinds())


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(lineages())
def test_plans_name_distinct_rows_that_exist(lineage: tuple[RegimeSpec, int, int, int]) -> None:
    spec, seed, num_real, depth = lineage
    for generation in range(1, depth + 1):
        plan = spec.plan(seed=seed, generation=generation, num_real=num_real)
        assert plan.num_rows > 0
        assert plan.num_rows == sum(len(part.rows) for part in plan.parts)
        generations = [part.generation for part in plan.parts]
        assert generations == sorted(set(generations))
        for part in plan.parts:
            made = spec.num_to_generate(generation=part.generation, num_real=num_real) if part.generation else num_real
            assert part.generation < generation
            assert part.rows.dtype == np.int64
            assert len(part.rows) > 0
            assert np.all(np.diff(part.rows) > 0)
            assert part.rows[0] >= 0 and part.rows[-1] < made
        if generation == 1:
            assert generations == [0]
            assert plan.real_weight is None


@settings(max_examples=60, deadline=None)
@given(lineages())
def test_plans_are_pure(lineage: tuple[RegimeSpec, int, int, int]) -> None:
    spec, seed, num_real, depth = lineage
    backwards = [spec.plan(seed=seed, generation=t, num_real=num_real) for t in range(depth, 0, -1)]
    twin = RegimeSpec.resolve(spec.dump())
    forwards = [twin.plan(seed=seed, generation=t, num_real=num_real) for t in range(1, depth + 1)]
    assert [plan.identity() for plan in forwards] == [plan.identity() for plan in reversed(backwards)]


@settings(max_examples=60, deadline=None)
@given(lineages())
def test_no_generation_makes_samples_that_no_pool_can_use(lineage: tuple[RegimeSpec, int, int, int]) -> None:
    spec, seed, num_real, depth = lineage
    subsampled = spec.kind == "accumulate_subsample"
    for generation in range(1, depth):
        used = [
            part.rows[-1] + 1
            for later in range(generation + 1, depth + 1)
            for part in spec.plan(seed=seed, generation=later, num_real=num_real).parts
            if part.generation == generation
        ]
        made = spec.num_to_generate(generation=generation, num_real=num_real)
        assert max(used, default=0) <= made if subsampled else max(used, default=0) == made


@pytest.mark.slow
@given(st.integers(1, 50), st.data(), st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_generation_1_is_shared_by_regimes_and_fractions(
    num_real: int, data: st.DataObject, seed: int, one: float, other: float
) -> None:
    size = data.draw(st.none() | st.integers(1, num_real))
    specs = [sized(kind, size, fraction) for kind in SIZED for fraction in (one, other)]
    plans = [spec.plan(seed=seed, generation=1, num_real=num_real) for spec in specs]
    assert counts(plans[0]) == {0: size or num_real}
    for plan in plans[1:]:
        assert plan.identity() == plans[0].identity()
        assert np.array_equal(plan.parts[0].rows, plans[0].parts[0].rows)
        assert plan.asked_real_fraction is None


@pytest.mark.parametrize(
    ("spec", "pools"),
    [
        (regime("replace", num_samples=8), [{0: 8}, {1: 8}, {2: 8}, {3: 8}]),
        (regime("accumulate", num_samples=8), [{0: 8}, {0: 8, 1: 8}, {0: 8, 1: 8, 2: 8}, {0: 8, 1: 8, 2: 8, 3: 8}]),
        (regime("augment_latest", num_real=8, num_synthetic=5), [{0: 8}, {0: 8, 1: 5}, {0: 8, 2: 5}, {0: 8, 3: 5}]),
        (regime("augment_latest"), [{0: 40}, {0: 40, 1: 40}, {0: 40, 2: 40}, {0: 40, 3: 40}]),
        (regime("mix", num_samples=8, real_fraction=0.25), [{0: 8}, {0: 2, 1: 6}, {0: 2, 2: 6}, {0: 2, 3: 6}]),
        (regime("mix", num_samples=8, real_fraction=0), [{0: 8}, {1: 8}, {2: 8}, {3: 8}]),
        (regime("mix", num_samples=8, real_fraction=1), [{0: 8}, {0: 8}, {0: 8}, {0: 8}]),
        (regime("mix", real_fraction=0.5), [{0: 40}, {0: 20, 1: 20}, {0: 20, 2: 20}, {0: 20, 3: 20}]),
        (regime("fresh", num_real=8, num_synthetic=5), [{0: 8}, {0: 8, 1: 5}, {0: 8, 2: 5}, {0: 8, 3: 5}]),
        (regime("single_shot", num_samples=8, real_fraction=0.75), [{0: 8}, {0: 6, 1: 2}]),
    ],
)
def test_pools_are_those_of_the_literature(spec: RegimeSpec, pools: list[dict[int, int]]) -> None:
    plans = [spec.plan(seed=7, generation=t, num_real=40) for t in range(1, len(pools) + 1)]
    assert [counts(plan) for plan in plans] == pools


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from(["mix", "single_shot"]))
@settings(deadline=None)
def test_a_mix_realises_the_fraction_asked_for(size: int, real_fraction: float, kind: str) -> None:
    plan = sized(kind, size, real_fraction).plan(seed=0, generation=2, num_real=500)
    assert plan.num_rows == size
    assert plan.asked_real_fraction == real_fraction
    assert abs(plan.realised_real_fraction - real_fraction) <= 0.5 / size + 1e-12


def test_halves_are_rounded_up() -> None:
    for size, num_real in ((1, 1), (3, 2), (5, 3)):
        plan = regime("mix", num_samples=size, real_fraction=0.5).plan(seed=0, generation=2, num_real=10)
        assert plan.num_real == num_real


def test_real_rows_of_a_mix_are_fixed_and_nested_over_fractions() -> None:
    def real_rows(fraction: float, generation: int) -> set[int]:
        spec = regime("mix", num_samples=20, real_fraction=fraction)
        return set(spec.plan(seed=3, generation=generation, num_real=50).parts[0].rows.tolist())

    assert real_rows(0.5, 2) == real_rows(0.5, 9)
    assert real_rows(0.2, 2) < real_rows(0.5, 2) < real_rows(0.8, 2) < real_rows(0.0, 1)


def test_fixed_real_rows_depend_on_the_seed() -> None:
    spec = regime("replace", num_samples=20)
    rows = {tuple(spec.plan(seed=seed, generation=1, num_real=50).parts[0].rows) for seed in range(20)}
    assert len(rows) == 20


@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 7), st.integers(0, 1000))
@settings(deadline=None)
def test_fresh_never_draws_a_real_row_twice(depth: int, each: int, spare: int, seed: int) -> None:
    spec = regime("fresh", num_real=each, num_synthetic=3)
    num_real = depth * each + spare
    spec.check(num_real=num_real, depth=depth)
    drawn = [spec.plan(seed=seed, generation=t, num_real=num_real).parts[0].rows for t in range(1, depth + 1)]
    assert len(np.unique(np.concatenate(drawn))) == depth * each


def test_fresh_weighs_only_where_there_is_something_to_weigh() -> None:
    spec = regime("fresh", num_real=4, num_synthetic=4, real_weight=0.618)
    assert spec.plan(seed=0, generation=1, num_real=40).real_weight is None
    assert spec.plan(seed=0, generation=2, num_real=40).real_weight == 0.618
    with pytest.raises(ValidationError, match="real_weight needs synthetic rows"):
        regime("fresh", num_real=4, num_synthetic=0, real_weight=0.5)


def test_subsample_is_uniform_over_the_accumulated_pool() -> None:
    """Each of the 3 * 6 rows is drawn with chance 1/3; draws without replacement shrink the statistic by (1 - 1/3)."""
    spec, size, generation, num_seeds = regime("accumulate_subsample", num_samples=6), 6, 3, 3000
    times = np.zeros((generation, size))
    for seed in range(num_seeds):
        plan = spec.plan(seed=seed, generation=generation, num_real=size)
        assert plan.num_rows == size
        for part in plan.parts:
            times[part.generation, part.rows] += 1
    expected = num_seeds / generation
    population = generation * size
    chi_square = ((times - expected) ** 2).sum() / (expected * (1 - 1 / generation)) * (population - 1) / population
    assert 0.001 < stats.chi2.sf(chi_square, population - 1) < 0.9999


def test_subsample_takes_real_rows_from_the_fixed_subset() -> None:
    spec = regime("accumulate_subsample", num_samples=10)
    for seed, generation in itertools.product(range(20), range(2, 5)):
        fixed = spec.plan(seed=seed, generation=1, num_real=100).parts[0].rows
        plan = spec.plan(seed=seed, generation=generation, num_real=100)
        real = [part.rows for part in plan.parts if part.generation == 0]
        assert plan.num_rows == 10
        assert all(np.isin(rows, fixed).all() for rows in real)


@pytest.mark.parametrize(
    ("spec", "num_real", "depth", "message"),
    [
        (regime("replace", num_samples=11), 10, 1, "num_samples is 11.*at most 10"),
        (regime("mix", num_samples=11, real_fraction=0.1), 10, 3, "num_samples is 11.*at most 10"),
        (regime("augment_latest", num_real=11), 10, 3, "num_real is 11.*at most 10"),
        (regime("fresh", num_real=4, num_synthetic=1), 10, 3, "12 in all.*has 10.*depth of 2"),
        (regime("single_shot", real_fraction=0.5), 10, 3, "depth is 3, allowed is at most 2.*regime mix"),
        (regime("accumulate"), 0, 1, "no real training rows"),
    ],
)
def test_what_cannot_run_is_refused(spec: RegimeSpec, num_real: int, depth: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        spec.check(num_real=num_real, depth=depth)


def test_single_shot_has_no_third_generation() -> None:
    spec = regime("single_shot", num_samples=4, real_fraction=0.5)
    assert spec.num_to_generate(generation=2, num_real=10) == 0
    with pytest.raises(ValueError, match="no generation 3"):
        spec.plan(seed=0, generation=3, num_real=10)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "replace", "num_samples": 0},
        {"kind": "replace", "real_fraction": 0.5},
        {"kind": "mix"},
        {"kind": "mix", "real_fraction": 1.01},
        {"kind": "fresh", "num_real": 0, "num_synthetic": 1},
        {"kind": "fresh", "num_real": 1, "num_synthetic": 1, "real_weight": 1.0},
        {"kind": "augment_latest", "num_synthetic": 0},
    ],
)
def test_fields_that_no_regime_reads_or_no_pool_allows_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(fields)
