"""Verdicts on lineages whose truth is a closed form."""

import math

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import norm

from collapse_ray.search.decide import decisions, judge
from collapse_ray.search.scaling import with_scaling_exponent
from collapse_ray.search.series import Replicate, Series
from collapse_ray.search.verdict import Signal, Verdict, VerdictSpec

RATE = 0.05
N = 20
"""Samples per generation."""


def spec(kind: str) -> VerdictSpec:
    return VerdictSpec.resolve(kind)


def signal(kind: str) -> Signal:
    found = spec(kind).signal("vector")
    assert found is not None
    return found


def exact(metric: str, values: list[float], stderr: float) -> Series:
    """One replicate that shows the expectations themselves."""
    metrics = {t: {metric: value, f"{metric}_stderr": stderr} for t, value in enumerate(values, start=1)}
    return Series("vector", (Replicate(0, metrics),))


def risk(values: list[float], stderr: float = 1e-3) -> Verdict:
    return judge(spec("diverging_risk"), exact("real_test_loss", values, stderr), RATE)


def test_variance_under_replace_is_decided_when_half_is_lost() -> None:
    """O4: E log v falls by psi((n-1)/2) + ln(2/(n-1)) a generation; a thousand replicates see it cross ln 1/2."""
    depth, arms = 30, 20
    chi2 = np.random.default_rng(0).chisquare(N - 1, (arms, 1000, depth)) / (N - 1)
    values = np.cumprod(chi2, axis=-1)
    found = decisions(spec("collapsing_variance"), signal("collapsing_variance"), np.arange(1, depth + 1), values, None)
    fall = digamma((N - 1) / 2) + math.log(2 / (N - 1))
    crossing = 1 + math.ceil(math.log(0.5) / fall)
    decided = (found.collapsed <= RATE).argmax(axis=1) + 1
    assert crossing == 14
    assert decided.min() >= crossing
    assert decided.max() <= crossing + 6


def test_one_lineage_is_decided_when_its_sampling_error_allows() -> None:
    """O1: E v = (1 - 1/n)^G; the generation follows from normal quantiles by hand."""
    variance, stderr = [(1 - 1 / N) ** t for t in range(1, 40)], 0.02
    verdict = judge(spec("collapsing_variance"), exact("variance_ratio", variance, stderr), RATE)
    sure = [
        t
        for t in range(2, 40)
        if math.log(variance[0] / variance[t - 1]) - math.log(2)
        > norm.isf(RATE / (t * (t - 1))) * stderr * math.hypot(1 / variance[0], 1 / variance[t - 1])
    ]
    assert (verdict.status, verdict.generation) == ("collapsed", sure[0])


def test_variance_under_accumulate_is_healthy() -> None:
    """O8: E v never falls below sin(pi/sqrt n)/(pi/sqrt n), .97 of what the first fit has."""
    rng = np.random.default_rng(1)
    replicates, depth = 500, 25
    total, square, count = np.zeros(replicates), np.zeros(replicates), 0
    mean, variance = np.zeros(replicates), np.ones(replicates)
    fits = []
    for _ in range(depth):
        drawn = mean + np.sqrt(variance) * rng.standard_normal((N, replicates))
        total, square, count = total + drawn.sum(0), square + (drawn**2).sum(0), count + N
        mean, variance = total / count, square / count - (total / count) ** 2
        fits.append(variance)
    values = np.array(fits).T
    limit = math.sin(math.pi / math.sqrt(N)) / (math.pi / math.sqrt(N))
    assert values[:, -1].mean() == pytest.approx(limit, abs=0.03)
    metrics = [Replicate(s, {t: {"variance_ratio": float(row[t - 1])} for t in range(1, depth + 1)})
               for s, row in enumerate(values)]  # fmt: skip
    verdict = judge(spec("collapsing_variance"), Series("vector", tuple(metrics)), RATE)
    assert (verdict.status, verdict.alarm_generation) == ("healthy", None)


@pytest.mark.parametrize("slope", [0.03, 0.2, 1.0])
def test_risk_of_linear_regression_under_replace_diverges(slope: float) -> None:
    """O15: the excess risk grows by the same in every generation."""
    verdict = risk([slope * t for t in range(1, 13)])
    assert verdict.status in ("collapsing", "collapsed")
    assert verdict.alarm_generation == 5


@pytest.mark.parametrize("slope", [0.03, 0.2, 1.0])
def test_risk_of_linear_regression_under_accumulate_does_not(slope: float) -> None:
    """O16: it grows like the sum of 1/i^2, which converges, however large the scale."""
    verdict = risk([slope * sum(1 / i**2 for i in range(1, t + 1)) for t in range(1, 25)])
    assert (verdict.status, verdict.alarm_generation) == ("healthy", None)


def test_a_risk_that_jumps_once_does_not_diverge() -> None:
    assert risk([1.0] + [2.0] * 11).alarm_generation is None


def test_a_risk_that_falls_and_stays_does_not_diverge() -> None:
    """The growth before half-way is negative, and what follows is none: that is no growth that goes on."""
    assert risk([2.0, 1.5] + [1.0] * 10).alarm_generation is None


def test_scaling_exponent_of_a_power_law() -> None:
    """loss = 3 size^-b with b = .3 at generation 1, halved at each later one."""
    exponents = [0.3, 0.15, 0.075]
    by_size = {
        size: exact("real_test_loss", [3 * size**-b for b in exponents], 1e-4) for size in (100, 1000, 10_000, 100_000)
    }
    series = with_scaling_exponent(by_size)
    measured = series.measured("scaling_exponent")
    assert measured is not None
    assert measured.values[0] == pytest.approx(exponents)
    assert judge(spec("changed_scaling_law"), series, RATE).status == "collapsed"


def test_error_of_the_scaling_exponent() -> None:
    """By the error propagation of numpy's weighted fit of log losses, whose errors are relative ones."""
    sizes, losses, stderr = [10, 100, 1000], [2.0, 1.1, 0.4], 0.02
    series = with_scaling_exponent(
        {size: exact("real_test_loss", [loss], loss * stderr) for size, loss in zip(sizes, losses, strict=True)}
    )
    slope, covariance = np.polyfit(np.log(sizes), np.log(losses), 1, w=np.full(3, 1 / stderr), cov="unscaled")
    measured = series.measured("scaling_exponent")
    assert measured is not None
    assert measured.variances is not None
    assert measured.values[0, 0] == pytest.approx(-slope[0])
    assert measured.variances[0, 0] == pytest.approx(covariance[0, 0])
