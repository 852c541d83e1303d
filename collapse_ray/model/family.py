"""What a family of generators must offer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load, save
from torch import Tensor, nn

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.config.plugin import Plugin
from collapse_ray.config.spec import Spec

WEIGHTS = "model.safetensors"


class SamplingSpec(Spec):
    """How a generator is sampled; a family refuses what it cannot honour."""

    temperature: float = Field(default=1.0, gt=0)
    """Divides logits (LM) or multiplies the standard deviation of the latent noise (others); > 0."""
    top_k: int | None = Field(default=None, ge=1)
    """LM: only the k likeliest tokens."""
    top_p: float | None = Field(default=None, gt=0, le=1)
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

    def enable_activation_checkpointing(self) -> None:
        """Makes the backward pass recompute activations, which saves memory.

        Raises:
            InvalidInput: the family has no such mode.
        """
        raise InvalidInput(
            f"activation checkpointing was asked of a {type(self).__name__}, which has none; only the family "
            "'transformer' has: leave run.activation_checkpointing out"
        )

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
    def solve(self) -> None:
        """Sets the parameters from the statistics."""


class FamilySpec(Plugin):
    """A kind of generator and its size."""

    folder: ClassVar[str] = "collapse_ray.model.families"

    closed_form: ClassVar[bool] = False
    """True when `build` gives a `ClosedForm`, which needs no training settings."""

    @abstractmethod
    def check(self, payload: Payload, sampling: SamplingSpec) -> None:
        """Refuses a payload or a sampling setting that the family cannot honour.

        Raises:
            InvalidInput: says what the family can model.
        """

    def refuse_token_filters(self, sampling: SamplingSpec) -> None:
        """For `check` of families that do not make tokens.

        Raises:
            InvalidInput: top_k or top_p is set.
        """
        for name in ("top_k", "top_p"):
            if (value := getattr(sampling, name)) is not None:
                raise InvalidInput(
                    f"sampling.{name}={value}: the family '{self.kind}' makes no tokens to choose among; "
                    f"leave {name} out (sampling.temperature is allowed), or choose the family 'transformer'"
                )

    @abstractmethod
    def build(self, payload: Payload) -> Generator:
        """A new generator with random weights from torch's global generator, which the caller has seeded."""

    def outline(self, payload: Payload) -> nn.Module:
        """What `build` gives, on torch's meta device: shapes without memory for weights, to count them."""
        with torch.device("meta"):
            return self.build(payload)


def load_generator(spec: FamilySpec, payload: Payload, files: dict[str, bytes]) -> Generator:
    """A trained generator in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        generator = spec.build(payload)
    generator.from_files(files)
    return generator.eval()
