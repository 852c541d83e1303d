"""The curve of one arm: its sampler against an exact posterior, its intervals against data of known frontier."""

import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import binom, norm
from sklearn.isotonic import IsotonicRegression

from collapse_ray.search.frontier.curve import BEYOND, Curves, Observations, fit
from collapse_ray.search.frontier.estimate import _falls, falls, interval_of
from collapse_ray.search.frontier.problem import NumericAxis
from collapse_ray.search.frontier.sampling import Density, sample

NOWHERE = np.empty((1, 0))
AXIS = NumericAxis(path="f", low=0.0, high=1.0)


def values(units: np.ndarray, responses: np.ndarray, sds: float = 0.0, shared_sds: float = 0.0) -> Observations:
    count = len(responses)
    units = units.reshape(count, -1)
    return Observations(units, responses, np.full(count, sds), np.full(count, shared_sds), np.zeros(count))


def outcomes(units: np.ndarray, sides: np.ndarray) -> Observations:
    nothing = np.zeros(len(sides))
    return Observations(units[:, None], nothing, nothing, nothing, sides)


def test_the_sampler_finds_the_posterior_of_a_linear_model() -> None:
    """Conjugate: precision 1 + X'X / s^2, mean precision^-1 X'y / s^2."""
    rng = np.random.default_rng(0)
    design, noise = rng.standard_normal((40, 3)), 0.2
    responses = design @ [1.0, -2.0, 0.5] + noise * rng.standard_normal(40)

    def log_likelihood(parameters: np.ndarray) -> np.ndarray:
        return -0.5 * ((responses - parameters @ design.T) ** 2).sum(1) / noise**2

    draws = sample(Density(3, log_likelihood), rng)
    covariance = np.linalg.inv(np.eye(3) + design.T @ design / noise**2)
    sd = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose(draws.mean(0), covariance @ design.T @ responses / noise**2, atol=0.15 * sd.max())
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.15 * sd.max() ** 2)


@pytest.mark.slow
def test_outcomes_alone_give_the_posterior_that_quadrature_gives() -> None:
    """With outcomes only theta, k and c are left, and can be summed over a fine grid."""
    rng = np.random.default_rng(1)
    units = rng.random(60)
    sides = np.where(units + 0.1 * rng.standard_normal(60) > 0.4, 1.0, -1.0)
    found = fit(outcomes(units, sides), rng).curves.frontier(NOWHERE)[:, 0]
    theta = np.linspace(-BEYOND, 1 + BEYOND, 301)[:, None, None]
    k = 0.15 * np.exp(1.3 * np.linspace(-4, 4, 41))[None, :, None]
    z_k, c = norm.pdf(np.linspace(-4, 4, 41))[None, :, None], np.linspace(-1.8, 2.4, 42)[None, None, :]
    posterior = np.log(z_k) + norm.logpdf(c, 0.3, 0.7)
    for unit, side in zip(units, sides, strict=True):
        z = np.log1p(np.maximum(c * (unit - theta) / k, -1 + 1e-12)) / c
        posterior = posterior + log_ndtr(side * np.clip(z, -30, 30))
    weight = np.exp(posterior - posterior.max()).sum((1, 2))
    cumulative = np.cumsum(weight) / weight.sum()
    exact = np.interp([0.025, 0.5, 0.975], cumulative, theta[:, 0, 0])
    np.testing.assert_allclose(np.quantile(found, [0.025, 0.5, 0.975]), exact, atol=0.1 * (exact[2] - exact[0]))


@pytest.mark.slow
def test_intervals_cover_the_frontier() -> None:
    """Of a response that saturates, is noisier below the frontier, and has a wild tail on one side."""
    rng, truth, count = np.random.default_rng(2), 0.3, 40
    covered = 0
    for _ in range(count):
        units = np.concatenate([[0, 1 / 3, 2 / 3, 1], np.clip(rng.normal(truth, 0.1, 36), 0, 1)])
        noise = 0.2 * (1.4 - 0.6 * units) * rng.standard_normal(40)
        responses = np.log((units + 0.02) / (truth + 0.02)) + noise
        responses[(responses < 0) & (rng.random(40) < 0.2)] -= 30
        found = interval_of(AXIS, 0.95, fit(values(units, responses), rng).curves.frontier(NOWHERE)[:, 0])
        covered += bool((found.lower or 0) <= truth <= (found.upper or 1))
        assert found.width < 0.3
    assert covered >= binom.ppf(0.001, count, 0.95)


@pytest.mark.slow
def test_an_error_that_all_forecasts_share_does_not_average_out() -> None:
    rng = np.random.default_rng(3)
    units = rng.normal(0.5, 0.1, 200)
    responses = 2 * (units - 0.5) + 0.1 * rng.standard_normal(200)
    own = fit(values(units, responses, sds=0.2), rng).curves.frontier(NOWHERE)[:, 0]
    shared = fit(values(units, responses, sds=0.2, shared_sds=0.2), rng).curves.frontier(NOWHERE)[:, 0]
    assert own.std() < 0.02
    assert shared.std() == pytest.approx(0.2 / 2, rel=0.3)  # an error of 0.2 where the slope is 2


@pytest.mark.slow
def test_the_frontier_follows_another_axis() -> None:
    rng = np.random.default_rng(4)
    units = rng.random((150, 2))
    truth = 0.3 + 0.4 * units[:, 1]
    seen = values(units, 3 * (units[:, 0] - truth) + 0.2 * rng.standard_normal(150))
    draws = fit(seen, rng).curves.frontier(np.array([[0.0], [0.5], [1.0]]))
    np.testing.assert_allclose(np.median(draws, axis=0), [0.3, 0.5, 0.7], atol=0.06)


def test_another_share_of_survivors_moves_the_frontier_by_so_many_s() -> None:
    """z is in units of s: at the frontier of 97.5 % survival the mean is 1.96 s above the threshold."""
    line = Curves(np.full((1, 1), 0.4), k=np.array([0.1]), bend=np.array([1e-3]), s=np.ones(1), uneven=np.zeros(1))
    assert line.frontier(NOWHERE, 1.96)[0, 0] == pytest.approx(0.4 + 0.196, abs=1e-3)
    bent = Curves(np.full((1, 1), 0.4), k=np.array([0.1]), bend=np.array([0.8]), s=np.ones(1), uneven=np.zeros(1))
    place = bent.frontier(NOWHERE, 1.96)
    assert bent.z(place)[0, 0] == pytest.approx(1.96)


def test_intervals_at_the_ends_of_the_axis() -> None:
    spread = np.linspace(-0.01, 0.01, 1001)
    inside = interval_of(AXIS, 0.95, 0.5 + spread)
    assert (inside.estimate, inside.censored) == (pytest.approx(0.5), None)
    assert inside.width == pytest.approx(0.019 * 1.1, rel=0.01)
    healthy = interval_of(AXIS, 0.95, -0.1 + spread)
    assert (healthy.estimate, healthy.lower, healthy.upper, healthy.censored) == (0.0, None, 0.0, "all_survive")
    hopeless = interval_of(AXIS, 0.95, 1.1 + spread)
    assert (hopeless.estimate, hopeless.lower, hopeless.upper) == (None, 1.0, None)
    assert (hopeless.censored, hopeless.width) == ("none_survives", 0.0)
    edge = interval_of(AXIS, 0.95, spread)
    assert (edge.lower, edge.censored) == (None, None)
    assert edge.upper == pytest.approx(0.0095 * 1.1, rel=0.01)


def test_the_fraction_is_one_that_can_be_run() -> None:
    stepped = NumericAxis(path="f", low=0.0, high=1.0, step=0.05)
    found = interval_of(stepped, 0.95, np.linspace(0.31, 0.36, 501))
    assert (found.lower, found.estimate, found.upper) == (0.35, 0.35, 0.4)


def test_the_nearest_rising_sequence_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    means, weights = rng.standard_normal((20, 9)), rng.random(9) + 0.5
    rising = [IsotonicRegression().fit_transform(np.arange(9), row, sample_weight=weights) for row in means]
    np.testing.assert_allclose(_falls(means, weights), ((means - rising) ** 2) @ weights)


def test_a_fall_is_told_from_noise() -> None:
    rng = np.random.default_rng(5)
    units = rng.random(48)
    noise = 0.3 * rng.standard_normal(48)
    humps = np.where((units > 0.3) & (units < 0.6), 0.5, -0.5)
    assert falls(values(units, humps + noise), 1.0, rng) < 0.01
    assert falls(values(units, 2 * (units - 0.5) + noise), 1.0, rng) > 0.5
    assert falls(outcomes(units, np.sign(humps)), np.inf, rng) < 0.01
    assert falls(values(units[:6], noise[:6]), 1.0, rng) == 1.0
    flat = [falls(values(units, 0.3 * rng.standard_normal(48)), 1.0, rng) for _ in range(20)]
    assert np.mean(np.array(flat) < 0.05) <= 0.2  # 0.05 is asked; three of twenty or fewer in 98 % of cases
