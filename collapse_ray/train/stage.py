"""Train one generation on exactly the rows of its plan."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from collapse_ray.config.noise import torch_seed
from collapse_ray.data.audit import OriginAudit, PlanMismatch
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch
from collapse_ray.data.regime import PoolPlan
from collapse_ray.model.family import ClosedForm, Generator
from collapse_ray.train.checkpoints import StageCheckpoints
from collapse_ray.train.deepspeed_config import deepspeed_config
from collapse_ray.train.engine import Engine
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group
from collapse_ray.train.spec import TrainSpec

Stream = Callable[[int], Iterable[Batch]]
"""This rank's batches from a step on."""


class Window(NamedTuple):
    """The steps since the check before."""

    done: int
    """Steps of the stage up to now."""
    loss: float
    """Their mean, over all ranks."""
    num_steps: int
    duration_s: float
    """On this rank, as the next."""
    data_wait_s: float
    """Of it, the time in which this rank waited for its rows. A GPU may be at work meanwhile."""


OnStep = Callable[[Window], None]
"""Called at every check."""


@dataclass(frozen=True)
class Trained:
    """What a training stage leaves behind: weights on the CPU unless it diverged, and counted quantities."""

    weights: dict[str, Tensor] | None
    realised: dict[str, Any]
    train_loss: float | None
    """Mean loss in nats per sample over the last check window; None when it diverged or has no loss."""

    @property
    def diverged(self) -> bool:
        return self.weights is None


def train_with_gradients(
    generator: Generator,
    train: TrainSpec,
    run: RunConfig,
    plan: PoolPlan,
    order: Order,
    stream: Stream,
    *,
    group: Group,
    checkpoints: StageCheckpoints,
    on_step: OnStep,
) -> Trained:
    """Trains with DeepSpeed until the budget is spent or the loss is no longer finite.

    Args:
        generator: new, or what training starts from; the same on every rank. Not usable afterwards.
        train: what to optimise and for how long.
        run: micro-batches, ZeRO stage, how often to check and to checkpoint.
        plan: the pool.
        order: the sequence of its rows.
        stream: this rank's batches.
        group: the ranks.
        checkpoints: where an interrupted stage goes on from.
        on_step: told at every check.

    Raises:
        PlanMismatch: the stream gave other rows than planned.
        InvalidInput: DeepSpeed cannot do what was asked.
    """
    if run.activation_checkpointing:
        generator.enable_activation_checkpointing()
    generator.to(group.device).train()
    engine = Engine(generator, train, deepspeed_config(train, run, group.world_size), order.num_steps)
    try:
        first = checkpoints.restore(engine)
        audit = OriginAudit(order, group.rank, group.world_size, window_steps=run.window_steps, first_step=first)
        weigh = row_weights(plan)
        losses, mean = list[Tensor](), math.nan
        batches = _Timed(stream(first))
        for step, batch in enumerate(batches, start=first):
            # Seeded step by step, so that a resumed stage draws what an undisturbed one would have drawn.
            _seed(torch_seed(order.seed, order.generation, "train", step, group.rank), group.device)
            payload = torch.from_numpy(batch.payload).to(group.device, non_blocking=True)
            weight = None if weigh is None else torch.from_numpy(weigh(batch.is_real)).to(group.device)
            losses.append(engine.step(payload, weight))
            audit.update(step, batch.is_real)
            done = step + 1
            if done % run.window_steps == 0 or done == order.num_steps:
                mean = group.mean(torch.stack(losses).mean().item())
                losses.clear()
                # Without loss scaling nothing but an infinite gradient makes DeepSpeed skip an update.
                if not math.isfinite(mean) or (engine.skipped_steps and train.precision != "fp16"):
                    return Trained(None, _realised(done, *_seen(audit, group), group), None)
                on_step(Window(done, mean, *batches.lap()))
            if run.checkpoint_every and done % run.checkpoint_every == 0 and done < order.num_steps:
                checkpoints.save(engine, done)
        audit.finish()
        return Trained(engine.weights(), _realised(order.num_steps, *_seen(audit, group), group), mean)
    finally:
        engine.close()


def fit_closed_form(generator: ClosedForm, plan: PoolPlan, stream: Stream, group: Group) -> Trained:
    """Fits by sufficient statistics on rank 0 alone, which reads the whole pool once."""
    if group.rank == 0:
        weigh = row_weights(plan)
        counted = 0
        for batch in stream(0):
            generator.update(batch.payload, np.ones(len(batch.is_real)) if weigh is None else weigh(batch.is_real))
            counted += int(batch.is_real.sum())
        if counted != plan.num_real:
            raise PlanMismatch(f"the plan has {plan.num_real} real rows of {plan.num_rows}, the stream gave {counted}")
        generator.solve()
    weights = group.broadcast(dict(generator.state_dict()) if group.rank == 0 else None)
    return Trained(weights, _realised(1, plan.num_real, plan.num_synthetic, group), None)


def row_weights(plan: PoolPlan) -> Callable[[np.ndarray], np.ndarray] | None:
    """Weights with a mean of 1 over the pool, giving real rows the share `plan.real_weight` of the loss."""
    if plan.real_weight is None or plan.num_synthetic == 0:
        return None
    real = plan.real_weight * plan.num_rows / plan.num_real
    synthetic = (1 - plan.real_weight) * plan.num_rows / plan.num_synthetic
    return lambda is_real: np.where(is_real, real, synthetic)


class _Timed:
    """Batches, and how long they were waited for."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self._since_s = time.perf_counter()
        self._wait_s = 0.0
        self._count = 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            begin_s = time.perf_counter()
            batch = next(self._batches, None)
            self._wait_s += time.perf_counter() - begin_s
            if batch is None:
                return
            self._count += 1
            yield batch

    def lap(self) -> tuple[int, float, float]:
        """Batches and seconds since the lap before, and the seconds of them that were waited."""
        now_s = time.perf_counter()
        lap = (self._count, now_s - self._since_s, self._wait_s)
        self._count, self._since_s, self._wait_s = 0, now_s, 0.0
        return lap


def _seed(seed: int, device: torch.device) -> None:
    """Seeds the generators that a forward pass on `device` draws from.

    `torch.manual_seed` does it for every kind of device, which takes 0.5 ms where there is none of them.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _seen(audit: OriginAudit, group: Group) -> tuple[int, int]:
    seen = group.gather((audit.num_real_seen, audit.num_synthetic_seen))
    return sum(real for real, _ in seen), sum(synthetic for _, synthetic in seen)


def _realised(steps: int, num_real: int, num_synthetic: int, group: Group) -> dict[str, Any]:
    return {
        "steps": steps,
        "world_size": group.world_size,
        "num_real_seen": num_real,
        "num_synthetic_seen": num_synthetic,
        "seen_real_fraction": num_real / (num_real + num_synthetic),
    }
