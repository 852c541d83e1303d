"""Forecasts of series, against exact answers for a random walk with drift and against lineages of closed form."""

import numpy as np
import pytest

from collapse_ray.lineage.oracles import log_variance_mean, log_variance_variance
from collapse_ray.search.frontier.dynamics import MAX_POINTS, Dynamics, thinned
from collapse_ray.search.frontier.forecast import Forecaster
from collapse_ray.search.frontier.record import Lineage


def lineage(series: np.ndarray, *, unit: float = 0.5, ended: bool = True) -> Lineage:
    margins = {generation: float(value) for generation, value in enumerate(series, 1)}
    return Lineage("key", (), (unit,), (unit,), 0, margins, reached=len(series), ending="depth" if ended else None)


def replace_lineages(count: int, depth: int, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Log-variances under `replace` with unbiased fits, (count, depth): sums of log chi^2_{n-1} / (n-1)."""
    steps = rng.chisquare(num_samples - 1, (count, depth)) / (num_samples - 1)
    return np.log(steps).cumsum(axis=1)


def test_a_random_walk_with_drift_is_continued_exactly() -> None:
    """Where rho = 1 and nothing is measured with error, the mean is the line through the first and the last point, and
    the variance that of the steps to come and of the drift, which g - 1 steps have told."""
    depth, g = 20, 8
    models = Dynamics(depth)
    walk = (models.rho == 1) & (models.phi == 0)
    series = np.random.default_rng(0).standard_normal(g).cumsum()
    generations, ahead = np.arange(1, g + 1), depth - g
    (mean,) = models.predict(generations, series)[walk]
    (variance,) = models.spread(generations)[walk]
    assert mean == pytest.approx(series[-1] + ahead * (series[-1] - series[0]) / (g - 1), rel=1e-3)
    assert variance == pytest.approx(ahead + ahead**2 / (g - 1), rel=1e-3)


def test_covariances_are_those_of_simulated_series() -> None:
    models, generations = Dynamics(12), np.array([1, 4, 9])
    which = np.flatnonzero((models.phi == 0.3) & (models.rho < 0.9))[-1]
    rho, phi = models.rho[which], models.phi[which]
    rng, count = np.random.default_rng(1), 40_000
    level, levels = np.zeros(count), []
    for _ in range(9):
        levels.append(level + np.sqrt(phi) * rng.standard_normal(count))
        level = rho * level + np.sqrt(1 - phi) * rng.standard_normal(count)
    found = np.cov(np.stack(levels)[generations - 1])
    # Without the vague first level and intercept, of which the rest is what differences of large numbers leave.
    steps = generations - 1.0
    drift = (1 - rho**steps) / (1 - rho)
    vague = 1e6 * (rho ** np.add.outer(steps, steps) + np.outer(drift, drift))
    np.testing.assert_allclose(models.covariance(generations, generations)[which] - vague, found, atol=0.05)


def test_intervals_hold_for_lineages_under_replace() -> None:
    """O4: forecasts after 10 of 30 generations, with other lineages to learn from, cover what comes."""
    depth, count, rng = 30, 120, np.random.default_rng(2)
    series = replace_lineages(count + 10, depth, 20, rng)
    forecaster = Forecaster(depth)
    for each in series[count:]:
        forecaster.learn(lineage(each))
    forecasts = [forecaster.forecast(lineage(each[:10], ended=False)) for each in series[:count]]
    off = [
        (each[-1] - forecast.mean) / np.hypot(forecast.sd, forecast.shared_sd)
        for each, forecast in zip(series, forecasts, strict=False)
        if forecast
    ]
    assert np.mean(np.abs(off) < 1.96) > 0.9  # 0.95 less three standard errors is 0.89
    assert np.mean(np.abs(off)) > 0.4  # nor are they without content: 0.8 for a normal distribution
    mean, variance = log_variance_mean(depth, 20), log_variance_variance(depth, 20)
    found = np.mean([each.mean for each in forecasts if each])
    assert found == pytest.approx(mean, abs=3 * (3 * variance / count) ** 0.5)


def test_a_return_to_equilibrium_is_known_early_once_it_was_seen() -> None:
    depth, rng = 30, np.random.default_rng(3)

    def relaxing() -> np.ndarray:
        level, values = 0.0, []
        equilibrium = rng.normal(-1, 0.3)
        for _ in range(depth):
            values.append(level)
            level = 0.6 * level + 0.4 * equilibrium + 0.02 * rng.standard_normal()
        return np.array(values)

    forecaster = Forecaster(depth)
    for _ in range(6):
        forecaster.learn(lineage(relaxing()))
    series = relaxing()
    forecast = forecaster.forecast(lineage(series[:8], ended=False))
    assert forecast is not None
    assert forecast.sd < 0.1
    assert abs(forecast.mean - series[-1]) < 4 * forecast.sd


def test_a_collapse_that_nothing_foretells_widens_forecasts_once_it_was_seen() -> None:
    """Healthy for twenty generations, then gone: no model knows of it, lineages that went to the depth do."""
    depth, rng = 30, np.random.default_rng(4)

    def sudden() -> np.ndarray:
        return 1 + 0.05 * rng.standard_normal(depth) - 4.0 * (np.arange(1, depth + 1) > 20)

    forecaster = Forecaster(depth)
    naive = forecaster.forecast(lineage(sudden()[:12], ended=False))
    assert naive is not None
    assert naive.survives > 0.9
    for _ in range(4):
        forecaster.learn(lineage(sudden()))
    learned = forecaster.forecast(lineage(sudden()[:12], ended=False))
    assert learned is not None
    assert learned.mean < naive.mean - 1
    assert 0.01 < learned.survives < 0.9


def test_what_is_known_needs_no_forecast_and_two_points_allow_none() -> None:
    forecaster = Forecaster(5)
    full = forecaster.forecast(lineage(np.array([1.0, 0.5, 0.2, 0.1, -0.3])))
    assert full is not None
    assert (full.mean, full.sd, full.shared_sd, full.survives) == (-0.3, 0.0, 0.0, 0.0)
    assert forecaster.forecast(lineage(np.array([1.0, 0.5]), ended=False)) is None
    assert forecaster.error((0.5,), np.array([3])) is None


def test_generations_without_a_response_are_left_out() -> None:
    depth, series = 20, np.linspace(0, -1.9, 20)
    gaps = lineage(series[:10], ended=False)
    for generation in (3, 4, 8):
        del gaps.margins[generation]
    forecast = Forecaster(depth).forecast(gaps)
    assert forecast is not None
    assert forecast.mean == pytest.approx(-1.9, abs=2 * forecast.sd)  # 95 of 100
    assert forecast.sd < 0.5


def test_long_series_are_thinned_and_keep_their_ends() -> None:
    kept = thinned(np.arange(1, 1001))
    assert (len(kept), kept[0], kept[-1]) == (MAX_POINTS, 0, 999)
    assert list(thinned(np.array([2, 5, 9]))) == [0, 1, 2]
