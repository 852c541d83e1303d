"""What a family of generators must offer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from collapse_ray.config.payload import Payload
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Spec

WEIGHTS = "model.safetensors"


class SamplingSpec(Spec):
    """How a generator is sampled; a family refuses what it cannot honour."""

    temperature: float = 1.0
    """Divides logits (LM) or multiplies the standard deviation of the latent noise (others); > 0."""
    top_k: int | None = None
    """LM: only the k likeliest tokens."""
    top_p: float | None = None
    """LM: the smallest set of tokens with this probability, in (0, 1]."""


class Generator(nn.Module, ABC):
    """One generator of any family."""

    @abstractmethod
    def forward(self, payload: Tensor) -> Tensor:
        """Training loss per sample, in nats: payload (B, *shape) of the payload's dtype -> (B,).

        May use torch's global random generator, which the caller has seeded for this step.
        """

    def test_loss(self, payload: Tensor) -> Tensor:
        """Loss per sample on held-out real data, in nats (per token for LMs): (B, *shape) -> (B,)."""
        return self(payload)

    @abstractmethod
    def draw_noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """All the randomness of B samples, each row drawn from that sample's own stream: (B, ...)."""

    @abstractmethod
    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        """Payloads (B, *shape) of the payload's dtype, a deterministic function of weights, noise and sampling."""

    def to_files(self) -> dict[str, bytes]:
        """The files of the model artifact: names and contents."""
        return {WEIGHTS: save({name: tensor.contiguous() for name, tensor in self.state_dict().items()})}

    def from_files(self, files: dict[str, bytes]) -> None:
        """Restores what `to_files` wrote."""
        self.load_state_dict(load(files[WEIGHTS]))


class ClosedForm(Generator):
    """A generator that is fitted by sufficient statistics in one pass, without gradients or a process group."""

    @abstractmethod
    def update(self, payload: np.ndarray, weight: np.ndarray) -> None:
        """Adds rows (B, *shape) with weights (B,) to the statistics."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Adds another rank's statistics."""

    @abstractmethod
    def solve(self) -> None:
        """Sets the parameters from the statistics."""


class FamilySpec(Plugin):
    """A kind of generator and its size."""

    folder: ClassVar[str] = "collapse_ray.model.families"

    @abstractmethod
    def check(self, payload: Payload, sampling: SamplingSpec) -> None:
        """Refuses a payload or a sampling setting that the family cannot honour.

        Raises:
            InvalidInput: says what the family can model.
        """

    @abstractmethod
    def build(self, payload: Payload) -> Generator:
        """A new generator with random weights from torch's global generator, which the caller has seeded."""


def load_generator(spec: FamilySpec, payload: Payload, files: dict[str, bytes]) -> Generator:
    """A trained generator in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        generator = spec.build(payload)
    generator.from_files(files)
    return generator.eval()
