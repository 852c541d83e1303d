"""The Gaussian against numpy, scipy and the closed forms of collapse theory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import polygamma, psi
from scipy.stats import multivariate_normal

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.generate.sample import sample_block
from collapse_ray.model.families.gaussian import Gaussian, Spec
from collapse_ray.model.family import SamplingSpec

CPU = torch.device("cpu")
PLAIN = SamplingSpec()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def build(*shape: int, spec: Spec | None = None) -> Gaussian:
    return (spec or Spec()).build(Payload("vector", shape))


def fit(rows: np.ndarray, weight: np.ndarray | None = None, spec: Spec | None = None) -> Gaussian:
    model = build(*rows.shape[1:], spec=spec)
    model.update(rows, np.ones(len(rows)) if weight is None else weight)
    model.solve()
    return model


def correlated(rng: np.random.Generator, num: int, size: int = 3) -> np.ndarray:
    return rng.standard_normal((num, size)) @ rng.standard_normal((size, size)) + 1e3


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_is_numpys(rng: np.random.Generator, ddof: int, weighted: bool) -> None:
    rows = correlated(rng, 40)
    weight = rng.uniform(0.1, 2, 40) if weighted else np.ones(40)
    model = fit(rows, weight, Spec.model_validate({"ddof": ddof}))
    np.testing.assert_allclose(model.mean, np.average(rows, axis=0, weights=weight), rtol=1e-13)
    expected = np.cov(rows, rowvar=False, aweights=weight if weighted else None, ddof=ddof)
    np.testing.assert_allclose(model.covariance, expected, rtol=1e-9)


@pytest.mark.parametrize("ddof", [0, 1])
def test_only_ratios_of_weights_matter(rng: np.random.Generator, ddof: int) -> None:
    rows = correlated(rng, 20)
    spec = Spec.model_validate({"ddof": ddof})
    plain, scaled = fit(rows, spec=spec), fit(rows, np.full(20, 0.37), spec)
    np.testing.assert_allclose(scaled.covariance, plain.covariance, rtol=1e-12)


def test_rows_of_weight_zero_do_not_count(rng: np.random.Generator) -> None:
    rows = correlated(rng, 10)
    weight = np.array([1.0] * 6 + [0.0] * 4)
    np.testing.assert_array_equal(fit(rows, weight).covariance, fit(rows[:6]).covariance)


def test_diagonal_drops_covariances(rng: np.random.Generator) -> None:
    rows = correlated(rng, 30)
    expected = np.diag(rows.var(axis=0))
    np.testing.assert_allclose(fit(rows, spec=Spec(covariance="diagonal")).covariance, expected, rtol=1e-9)


def test_blocks_add_up_in_any_order(rng: np.random.Generator) -> None:
    rows, weight = correlated(rng, 50), rng.uniform(0.1, 2, 50)
    whole = fit(rows, weight)
    cuts = [slice(30, 50), slice(0, 1), slice(1, 30)]
    blocks = build(3)
    for cut in cuts:
        blocks.update(rows[cut], weight[cut])
    blocks.solve()
    np.testing.assert_allclose(blocks.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(blocks.covariance, whole.covariance, rtol=1e-9)


def test_tiny_variance_far_from_the_origin(rng: np.random.Generator) -> None:
    """A difference of sums of squares, of relative error 1e-16 (mean / std)^2, would keep three digits."""
    steps = rng.integers(-100, 100, (64, 1)) * 2.0**-20
    rows = 1e2 + steps
    model = build(1)
    for block in np.split(rows, 8):
        model.update(block, np.ones(8))
    model.solve()
    np.testing.assert_allclose(model.covariance.numpy()[0], steps.var(axis=0), rtol=1e-9)


def test_replicas_are_separate_fits(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((12, 5, 2)) * np.arange(1, 6)[:, None]
    together = fit(rows, spec=Spec(ddof=1))
    held_out = torch.from_numpy(rng.standard_normal((4, 5, 2)))
    losses = []
    for replica in range(5):
        alone = fit(rows[:, replica], spec=Spec(ddof=1))
        np.testing.assert_allclose(together.mean[replica], alone.mean, rtol=1e-13)
        np.testing.assert_allclose(together.covariance[replica], alone.covariance, rtol=1e-12)
        losses.append(alone.test_loss(held_out[:, replica]))
    torch.testing.assert_close(together.test_loss(held_out), torch.stack(losses).mean(0))


@pytest.mark.parametrize("size", [1, 3])
def test_loss_is_scipys(rng: np.random.Generator, size: int) -> None:
    model, held_out = fit(correlated(rng, 30, size)), correlated(rng, 6, size)
    covariance: Any = model.covariance.numpy()  # scipy's signature infers int from its default
    expected = -multivariate_normal(model.mean.numpy(), covariance).logpdf(held_out)
    np.testing.assert_allclose(model.test_loss(torch.from_numpy(held_out)), expected, rtol=1e-9)


def test_very_unequal_units_are_not_degenerate() -> None:
    model = build(2)
    model.covariance.copy_(torch.diag(torch.tensor([1e12, 1e-30], dtype=torch.float64)))
    expected = 0.5 * math.log(1e12 * 1e-30) + math.log(2 * math.pi)
    assert model.test_loss(torch.zeros(1, 2, dtype=torch.float64)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "rows",
    [np.full((5, 2), 3.0), np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), np.arange(8.0)[:, None] * [1.0, 1 / 3]],
    ids=["one point", "no variance in one dimension", "one line"],
)
def test_degenerate_density_is_an_infinite_loss(rows: np.ndarray) -> None:
    assert fit(rows).test_loss(torch.from_numpy(rows)).tolist() == [math.inf] * len(rows)


def test_zero_covariance_samples_the_mean_exactly() -> None:
    mean = np.array([0.1, -7.3])
    samples = sample_block(fit(mean[None]), PLAIN, 0, 1, "generate", np.arange(8), CPU)
    np.testing.assert_array_equal(samples, np.tile(mean, (8, 1)))


def test_samples_of_a_singular_normal_stay_on_its_line(rng: np.random.Generator) -> None:
    direction = np.array([1.0, 2.0, -3.0])
    model = fit(rng.standard_normal((100, 1)) * direction)
    samples = sample_block(model, PLAIN, 0, 1, "generate", np.arange(4_000), CPU)
    assert np.abs(np.cross(samples - model.mean.numpy(), direction)).max() < 1e-6
    np.testing.assert_allclose(np.cov(samples, rowvar=False), model.covariance, rtol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sample_moments(rng: np.random.Generator, temperature: float) -> None:
    """Temperature multiplies the standard deviation. In whitened coordinates, each estimate has a known error."""
    model = fit(correlated(rng, 50))
    num = 20_000
    sampling = SamplingSpec(temperature=temperature)
    samples = sample_block(model, sampling, 0, 1, "generate", np.arange(num), CPU)
    root = np.linalg.cholesky(model.covariance.numpy())
    white = np.linalg.solve(root, (samples - model.mean.numpy()).T) / temperature
    assert np.abs(white.mean(axis=1)).max() < 4.5 / math.sqrt(num)
    assert np.abs(white @ white.T / num - np.eye(3)).max() < 4.5 * math.sqrt(2 / num)


def log_variance_after(num_fits: int, num_rows: int, replicas: int, spec: Spec) -> np.ndarray:
    """A lineage that starts at the standard normal: draw, fit, draw, fit, ..."""
    model = build(replicas, 1, spec=spec)
    for generation in range(num_fits):
        rows = sample_block(model, PLAIN, 3, generation, "generate", np.arange(num_rows), CPU)
        model = fit(rows, spec=spec)
    return np.log(model.covariance.numpy().ravel())


@pytest.mark.parametrize("num_fits", [1, 3])
@pytest.mark.parametrize(
    ("spec", "shrink"),
    [(Spec(ddof=0), lambda num: 1 - 1 / num), (Spec(ddof=1), lambda num: 1.0)],
    ids=["maximum likelihood", "unbiased"],
)
def test_replaced_lineage_loses_variance_as_theory_says(
    num_fits: int, spec: Spec, shrink: Callable[[int], float]
) -> None:
    """E v = (1 - 1/n)^G or 1; ln v has mean G (psi((n-1)/2) + ln(2 shrink / (n-1))), variance G psi1((n-1)/2)."""
    num_rows, replicas = 10, 4_000
    log_variance = log_variance_after(num_fits, num_rows, replicas, spec)
    half = (num_rows - 1) / 2
    mean = num_fits * (psi(half) - math.log(half) + math.log(shrink(num_rows)))
    variance = num_fits * float(polygamma(1, half))
    assert abs(log_variance.mean() - mean) / math.sqrt(variance / replicas) < 4

    variances = np.exp(log_variance)
    expected = shrink(num_rows) ** num_fits
    assert abs(variances.mean() - expected) / (variances.std() / math.sqrt(replicas)) < 4


@pytest.mark.parametrize(("ddof", "num_rows"), [(0, 0), (1, 0), (1, 1)])
def test_too_few_rows(ddof: int, num_rows: int) -> None:
    """The second row has no weight, so it does not help; the small weight must not round to a variance."""
    rows, weight = np.ones((num_rows + 1, 2)), np.array([0.1] * num_rows + [0.0])
    with pytest.raises(InvalidInput, match=f"given {num_rows} rows of positive weight; it needs at least {ddof + 1}"):
        fit(rows, weight, Spec.model_validate({"ddof": ddof}))


@pytest.mark.parametrize("payload", [Payload("image", (1, 8, 8)), Payload("tokens", (4,), 9), Payload("vector", ())])
def test_refuses_what_is_no_vector(payload: Payload) -> None:
    with pytest.raises(InvalidInput, match=r"vectors of shape \(D,\) or \(R, D\)"):
        Spec().check(payload, PLAIN)


@pytest.mark.parametrize("sampling", [SamplingSpec(top_k=5), SamplingSpec(top_p=0.9)])
def test_refuses_token_filters(sampling: SamplingSpec) -> None:
    with pytest.raises(InvalidInput, match="makes no tokens to choose among"):
        Spec().check(Payload("vector", (3,)), sampling)
