"""The VAE against torch.distributions and by what it must be able to learn."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.generate.sample import sample_block
from collapse_ray.model.families.vae import VAE, Spec
from collapse_ray.model.family import SamplingSpec

CPU = torch.device("cpu")
PLAIN = SamplingSpec()
DIGIT = Payload("image", (1, 8, 8))
POINT = Payload("vector", (3,))
SMALL = Spec(latent_size=4, hidden=(8,))


def build(spec: Spec, payload: Payload) -> VAE:
    torch.manual_seed(0)
    spec.check(payload, PLAIN)
    return spec.build(payload)


def images(payload: Payload, num: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (num, *payload.shape), dtype=torch.uint8)


def expected_loss(model: VAE, payload: torch.Tensor, target: torch.Tensor, beta: float) -> torch.Tensor:
    """-E_q log p(x | z) + beta KL(q || N(0, I)) from torch.distributions, with the draw that seed 1 gives."""
    mean, log_variance = model.encode(payload)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    torch.manual_seed(1)
    decoded = model.decode(mean + posterior.stddev * torch.randn(mean.shape))
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    if model.likelihood == "bernoulli":
        likelihood = Bernoulli(logits=decoded, validate_args=False)  # Pixels between black and white are no bits.
    else:
        likelihood = Normal(decoded, (0.5 * model.log_variance).exp())
    log_likelihood = Independent(likelihood, target.dim() - 1, validate_args=False).log_prob(target)
    return -log_likelihood + beta * kl_divergence(posterior, prior).sum(1)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_image_loss_is_the_elbo(likelihood: str) -> None:
    model = build(Spec.model_validate({"likelihood": likelihood, "latent_size": 4, "beta": 0.3}), DIGIT)
    payload = images(DIGIT)
    for loss, beta in ((model, 0.3), (model.test_loss, 1.0)):
        expected = expected_loss(model, payload, payload.float() / 255, beta)
        torch.manual_seed(1)
        torch.testing.assert_close(loss(payload), expected)


def test_vector_loss_is_the_elbo() -> None:
    model = build(Spec(), POINT)
    torch.nn.init.constant_(model.log_variance, -1.3)
    payload = torch.randn(5, 3, dtype=torch.float64)
    expected = expected_loss(model, payload, payload.float(), 1.0)
    torch.manual_seed(1)
    torch.testing.assert_close(model(payload), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 11), (1, 7, 29)])
@pytest.mark.parametrize("num_stages", [None, 2])
def test_any_size_of_image(shape: tuple[int, ...], num_stages: int | None) -> None:
    payload = Payload("image", shape)
    model = build(Spec(hidden=None if num_stages is None else (6,) * num_stages), payload)
    assert model(images(payload)).shape == (5,)
    samples = sample_block(model, PLAIN, 0, 1, "generate", np.arange(3), CPU)
    assert samples.shape == (3, *shape)
    assert samples.dtype == np.uint8


def test_stages_follow_the_size() -> None:
    """28 x 28 is halved to 7 x 7, 32 x 32 to 4 x 4."""
    for side, deepest in ((8, (32, 4, 4)), (28, (64, 7, 7)), (32, (128, 4, 4))):
        model = build(Spec(), Payload("image", (1, side, side)))
        unflatten = next(module for module in model.decoder if isinstance(module, torch.nn.Unflatten))
        assert unflatten.unflattened_size == deepest


@pytest.mark.slow
def test_overfits_a_few_images() -> None:
    """Random black and white pixels cost a guesser 64 ln 2 = 44 nats; four known images cost at least ln 4 = 1.4."""
    patterns = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(3)) > 0.5
    payload = (255 * patterns).to(torch.uint8).repeat(4, 1, 1, 1)
    model = build(Spec(latent_size=2, hidden=(16,)), DIGIT)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(200):
        optimizer.zero_grad()
        model(payload).mean().backward()
        optimizer.step()
    assert math.log(4) < model(payload).mean().item() < 8
    reconstructed = model.decode(model.encode(payload[:4])[0]) > 0
    assert torch.equal(reconstructed, patterns)


@pytest.mark.parametrize("payload", [DIGIT, POINT])
def test_bf16_weights(payload: Payload) -> None:
    model = build(Spec(), payload)
    rows = images(payload) if payload.kind == "image" else torch.randn(5, *payload.shape, dtype=torch.float64)
    torch.manual_seed(1)
    full = model(rows)
    model.to(torch.bfloat16)
    torch.manual_seed(1)
    loss = model(rows)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, full, rtol=0.03, atol=0.1)
    loss.mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert sample_block(model, PLAIN, 0, 1, "generate", np.arange(3), CPU).shape == (3, *payload.shape)


def test_samples_are_rounded_decoder_means() -> None:
    """At temperature t, the decoder is given t times the noise."""
    model = build(SMALL, DIGIT)
    noise = model.draw_noise([np.random.default_rng(seed) for seed in range(4)])
    with torch.inference_mode():
        samples = model.sample(noise, SamplingSpec(temperature=0.5))
        means = model.decode(0.5 * noise).sigmoid().numpy()
    np.testing.assert_array_equal(samples, np.rint(255 * means))


@pytest.mark.parametrize(
    ("spec", "payload", "message"),
    [
        (Spec(), Payload("tokens", (16,), 50), "it models images and vectors"),
        (Spec(likelihood="bernoulli"), POINT, "use gaussian"),
        (Spec(), Payload("image", (1, 28, 3)), "28 x 3 pixels; it needs at least 4 x 4"),
        (Spec(hidden=(8, 8, 8, 8)), DIGIT, "give at most 3"),
    ],
)
def test_refuses_what_it_cannot_model(spec: Spec, payload: Payload, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        spec.check(payload, PLAIN)


def test_refuses_token_filters() -> None:
    with pytest.raises(InvalidInput, match=r"sampling\.top_p=0\.9"):
        Spec().check(DIGIT, SamplingSpec(top_p=0.9))


@pytest.mark.parametrize("fields", [{"latent_size": 0}, {"hidden": []}, {"hidden": [0]}, {"beta": -1.0}])
def test_refuses_impossible_sizes(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Spec.resolve({"kind": "vae", **fields})
