"""One training stage on the digits, with a generator that draws no noise or with a VAE."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch, Pool, plain_stream
from collapse_ray.data.regime import PoolPlan
from collapse_ray.model.families.vae import Spec as VaeSpec
from collapse_ray.model.family import Generator, SamplingSpec
from collapse_ray.train.checkpoints import StageCheckpoints
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group
from collapse_ray.train.spec import TrainSpec
from collapse_ray.train.stage import Trained, train_with_gradients

STAGE = "5" * 32
"""Fingerprint that the stage would publish under."""


class Autoencoder(Generator):
    """Two layers without noise, so that its losses do not depend on the number of ranks."""

    def __init__(self, payload: Payload) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(payload.size, 24), nn.Tanh(), nn.Linear(24, payload.size))
        self.register_buffer("scale", torch.tensor(255.0))

    def forward(self, payload: Tensor) -> Tensor:
        pixels = payload.flatten(1).float() / 255
        decoded = self.layers(pixels.to(next(self.parameters()).dtype)).float()
        return (decoded - pixels).square().sum(1)

    def draw_noise(self, generators: object) -> Tensor:
        raise NotImplementedError

    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Digits:
    """The digits as published samples, and the pool of a first generation."""

    pool: Pool
    store: Store

    @property
    def plan(self) -> PoolPlan:
        return self.pool.plan

    @property
    def payload(self) -> Payload:
        return self.pool.payload

    def order(self, train: TrainSpec) -> Order:
        assert train.steps is not None
        return Order.of(self.plan, seed=3, generation=1, batch_size=train.batch_size, num_steps=train.steps)

    def autoencoder(self) -> Autoencoder:
        torch.manual_seed(0)
        return Autoencoder(self.payload)

    def vae(self) -> Generator:
        torch.manual_seed(0)
        return VaeSpec(hidden=(8,), latent_size=4).build(self.payload)


@dataclass(frozen=True)
class Result:
    """What a rank saw: the mean loss over all ranks of every check, and what the stage left behind."""

    losses: list[float]
    trained: Trained

    @property
    def weights(self) -> dict[str, np.ndarray]:
        assert self.trained.weights is not None
        return {name: value.numpy() for name, value in self.trained.weights.items()}


class Killed(Exception):
    """Stands for whatever ends a process inside a stage."""


def run_stage(
    group: Group,
    digits: Digits,
    generator: Generator,
    train: TrainSpec,
    run: RunConfig,
    *,
    checkpoints: Store | None = None,
    killed_before: int | None = None,
    plan: PoolPlan | None = None,
    stream: Callable[[int], Iterable[Batch]] | None = None,
) -> Result:
    """Trains on this rank.

    Args:
        group: of the rank.
        digits: the pool.
        generator: to train.
        train: settings.
        run: settings.
        checkpoints: a store for them; that of the digits where there is none.
        killed_before: the step that this rank does not live to take.
        plan: instead of that of the digits.
        stream: instead of the plain one.
    """
    order = digits.order(train)
    losses = list[float]()

    def planned(first_step: int) -> Iterable[Batch]:
        batches = plain_stream(digits.store, digits.pool, order, group.rank, group.world_size, first_step)
        for step, batch in enumerate(batches, first_step):
            if step == killed_before:
                raise Killed
            yield batch

    key = f"w{group.world_size}-z{run.zero_stage}"
    trained = train_with_gradients(
        generator,
        train,
        run,
        plan or digits.plan,
        order,
        stream or planned,
        group=group,
        checkpoints=StageCheckpoints(checkpoints or digits.store, STAGE, key, group),
        on_step=lambda window: losses.append(window.loss),
    )
    return Result(losses, trained)
