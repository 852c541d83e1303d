"""Variational autoencoder (Kingma and Welling 2014): convolutional for images, fully connected for vectors."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.model.family import FamilySpec, Generator, SamplingSpec

Likelihood = Literal["bernoulli", "gaussian"]

SMALLEST_SIDE = 4
VECTOR_WIDTHS = (128, 128)
FIRST_CHANNELS, MOST_CHANNELS = 32, 128


class Spec(FamilySpec):
    """Size and objective of a VAE."""

    latent_size: PositiveInt = 20
    """Dimensions of the latent, standard normal a priori."""
    hidden: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    """Images: channels of the stages, each of which halves height and width. Vectors: widths of the layers. None
    chooses from the payload: one stage for each doubling of the shorter side beyond 4 pixels (at least one), of 32,
    64, 128, 128, ... channels; two layers of 128 for vectors."""
    likelihood: Likelihood | None = None
    """What the decoder predicts. `bernoulli` reads pixel values in [0, 1] as probabilities (images only); `gaussian`
    has one learned variance for all dimensions (sigma-VAE, Rybkin et al. 2021). None: bernoulli for images, gaussian
    for vectors."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the KL term in the training loss (Higgins et al. 2017). The test loss always weighs it by 1."""

    def check(self, payload: Payload, sampling: SamplingSpec) -> None:
        if payload.kind == "image":
            self._check_image(payload.shape)
        elif payload.kind != "vector":
            raise InvalidInput(
                f"the family 'vae' cannot model a payload of kind '{payload.kind}': it models images and vectors; "
                "choose another source or another family (tokens: 'transformer')"
            )
        elif self.likelihood == "bernoulli":
            raise InvalidInput(
                "vae.likelihood=bernoulli: vectors are not confined to [0, 1]; use gaussian, or leave it out"
            )
        self.refuse_token_filters(sampling)

    def _check_image(self, shape: tuple[int, ...]) -> None:
        shorter = min(shape[1:])
        if shorter < SMALLEST_SIDE:
            raise InvalidInput(
                f"the family 'vae' was given images of {shape[1]} x {shape[2]} pixels; it needs at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE}: enlarge or pad them, or model them as vectors"
            )
        most = math.ceil(math.log2(shorter))
        if self.hidden is not None and len(self.hidden) > most:
            raise InvalidInput(
                f"vae.hidden={list(self.hidden)}: {len(self.hidden)} stages cannot each halve an image of "
                f"{shape[1]} x {shape[2]} pixels; give at most {most}"
            )

    def build(self, payload: Payload) -> "VAE":
        hidden = self.hidden or _default_hidden(payload)
        likelihood = self.likelihood or ("bernoulli" if payload.kind == "image" else "gaussian")
        return VAE(payload, hidden, self.latent_size, likelihood, self.beta)


def _default_hidden(payload: Payload) -> tuple[int, ...]:
    if payload.kind == "vector":
        return VECTOR_WIDTHS
    num_stages = max(1, int(math.log2(min(payload.shape[1:]) / SMALLEST_SIDE)))
    return tuple(min(FIRST_CHANNELS * 2**stage, MOST_CHANNELS) for stage in range(num_stages))


class VAE(Generator):
    """Losses are computed in float32 whatever the precision of the weights."""

    def __init__(
        self, payload: Payload, hidden: tuple[int, ...], latent_size: int, likelihood: Likelihood, beta: float
    ) -> None:
        super().__init__()
        self.payload = payload
        self.latent_size = latent_size
        self.likelihood = likelihood
        self.beta = beta
        make = _convolutional if payload.kind == "image" else _fully_connected
        self.encoder, self.decoder = make(payload.shape, hidden, latent_size)
        if likelihood == "gaussian":
            self.log_variance = nn.Parameter(torch.zeros(1))

    def forward(self, payload: Tensor) -> Tensor:
        return self._negative_elbo(payload, self.beta)

    def test_loss(self, payload: Tensor) -> Tensor:
        """Negative ELBO in nats, one latent draw, KL weighed by 1: an upper bound of the negative log-likelihood."""
        return self._negative_elbo(payload, beta=1.0)

    def encode(self, payload: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, float32: (B, *shape) -> (B, latent_size) each."""
        mean, log_variance = self.encoder(self._scaled(payload).to(self._dtype)).float().chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        """Logits (bernoulli) or means (gaussian), float32: (B, latent_size) -> (B, *shape)."""
        return self.decoder(latent.to(self._dtype)).float()

    def draw_noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        draws = [generator.standard_normal(self.latent_size, dtype=np.float32) for generator in generators]
        return torch.from_numpy(np.stack(draws))

    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        """Decoder means, as is usual for VAEs; temperature multiplies the latent noise."""
        decoded = self.decode(sampling.temperature * noise)
        if self.payload.kind == "vector":
            return decoded.double().cpu().numpy()
        mean = decoded.sigmoid() if self.likelihood == "bernoulli" else decoded.clamp(0, 1)
        return (255 * mean).round().to(torch.uint8).cpu().numpy()

    def _negative_elbo(self, payload: Tensor, beta: float) -> Tensor:
        mean, log_variance = self.encode(payload)
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        # Kingma and Welling (2014), appendix B.
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return self._reconstruction(self.decode(latent), self._scaled(payload)) + beta * divergence

    def _reconstruction(self, decoded: Tensor, target: Tensor) -> Tensor:
        """-log p(x | z) in nats, summed over the dimensions of a sample: (B, *shape) twice -> (B,)."""
        if self.likelihood == "bernoulli":
            loss = binary_cross_entropy_with_logits(decoded, target, reduction="none")
        else:
            std = torch.exp(0.5 * self.log_variance.float())
            loss = -Normal(decoded, std, validate_args=False).log_prob(target)
        return loss.flatten(1).sum(1)

    def _scaled(self, payload: Tensor) -> Tensor:
        return payload.float() / 255 if self.payload.kind == "image" else payload.float()

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _convolutional(
    shape: tuple[int, ...], channels: tuple[int, ...], latent_size: int
) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder to (B, 2 * latent_size) and decoder back to (B, C, H, W), for any height and width."""
    widths = (shape[0], *channels)
    sides = [shape[1:]]
    for _ in channels:
        sides.append(tuple(math.ceil(side / 2) for side in sides[-1]))
    deepest = (channels[-1], *sides[-1])

    encoder: list[nn.Module] = []
    for num_in, num_out in pairwise(widths):
        encoder += [nn.Conv2d(num_in, num_out, kernel_size=3, stride=2, padding=1), nn.ReLU()]
    encoder += [nn.Flatten(), nn.Linear(math.prod(deepest), 2 * latent_size)]

    decoder: list[nn.Module] = [nn.Linear(latent_size, math.prod(deepest)), nn.Unflatten(1, deepest)]
    for stage in reversed(range(len(channels))):
        height, width = sides[stage]
        # The transposed convolution makes 2 * ceil(side / 2) - 1 pixels: even sides lack one.
        padding = (1 - height % 2, 1 - width % 2)
        decoder += [
            nn.ReLU(),
            nn.ConvTranspose2d(
                widths[stage + 1], widths[stage], kernel_size=3, stride=2, padding=1, output_padding=padding
            ),
        ]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def _fully_connected(
    shape: tuple[int, ...], widths: tuple[int, ...], latent_size: int
) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder to (B, 2 * latent_size) and decoder back to (B, *shape)."""
    size = math.prod(shape)
    encoder = [nn.Flatten(), *_layers((size, *widths, 2 * latent_size))]
    decoder = [*_layers((latent_size, *reversed(widths), size)), nn.Unflatten(1, shape)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def _layers(widths: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(widths):
        layers += [nn.Linear(num_in, num_out), nn.ReLU()]
    return layers[:-1]
