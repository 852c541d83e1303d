"""The stage does what twenty lines of torch do, whatever DeepSpeed shards over whichever ranks."""

import numpy as np
import pytest
import torch
from rank_pool import RankPool
from stage_runs import Digits, Result, run_stage
from transformers.optimization import get_cosine_schedule_with_warmup

from collapse_ray.config.noise import torch_seed
from collapse_ray.data.reader import plain_stream
from collapse_ray.model.family import Generator
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group, SoloGroup
from collapse_ray.train.spec import OptimizerSpec, TrainSpec

STEPS = 50
EVERY_STEP = RunConfig(window_steps=1)
PLAIN = TrainSpec(
    steps=STEPS, batch_size=64, precision="fp32", clip_norm=None, optimizer=OptimizerSpec(lr=1e-2, weight_decay=0.01)
)
SCHEDULED = PLAIN.model_copy(update={"clip_norm": 0.5, "schedule": "cosine", "warmup_steps": 10})
BF16 = PLAIN.model_copy(update={"precision": "bf16", "clip_norm": 1.0})
ZERO_STAGES = (0, 1, 2, 3)


def bare_loop(generator: Generator, digits: Digits, train: TrainSpec, num_micro: int) -> list[float]:
    order = digits.order(train)
    spec = train.optimizer
    optimizer = torch.optim.AdamW(generator.parameters(), spec.lr, spec.betas, spec.eps, spec.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, train.warmup_steps, STEPS)
    losses = []
    for step, batch in enumerate(plain_stream(digits.store, digits.pool, order, 0, 1)):
        torch.manual_seed(torch_seed(order.seed, order.generation, "train", step, 0))
        optimizer.zero_grad()
        parts = []
        for micro in torch.from_numpy(batch.payload).chunk(num_micro):
            loss = generator(micro).mean() / num_micro
            loss.backward()
            parts.append(loss.item())
        if train.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(generator.parameters(), train.clip_norm)
        optimizer.step()
        if train.schedule == "cosine":
            schedule.step()
        losses.append(sum(parts))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
@pytest.mark.parametrize(("train", "num_micro"), [(PLAIN, 1), (SCHEDULED, 4)], ids=["plain", "scheduled"])
def test_fp32_equals_a_bare_torch_loop(digits: Digits, train: TrainSpec, num_micro: int, zero_stage: int) -> None:
    bare = digits.vae()
    expected = bare_loop(bare, digits, train, num_micro)
    run = RunConfig(window_steps=1, micro_batch_size=train.batch_size // num_micro, zero_stage=zero_stage)  # type: ignore[arg-type]
    result = run_stage(SoloGroup(), digits, digits.vae(), train, run)
    assert expected[-1] < 0.8 * expected[0]
    np.testing.assert_allclose(result.losses, expected, rtol=1e-4, atol=0)
    for name, value in bare.state_dict().items():
        np.testing.assert_allclose(result.weights[name], value.numpy(), rtol=0, atol=1e-4, err_msg=name)


def on_rank(group: Group, digits: Digits, train: TrainSpec, run: RunConfig) -> Result:
    return run_stage(group, digits, digits.autoencoder(), train, run)


@pytest.fixture(scope="session")
def over_two_ranks(two_ranks: RankPool, digits: Digits) -> dict[tuple[str, int], list[Result]]:
    """Both ranks' results for each precision and ZeRO stage; the fp32 ones accumulate and clip."""
    settings = {"fp32": (SCHEDULED, 16), "bf16": (BF16, 32)}
    return {
        (precision, zero): two_ranks.run(
            on_rank, digits, train, RunConfig(workers=2, window_steps=1, zero_stage=zero, micro_batch_size=micro)
        )
        for precision, (train, micro) in settings.items()
        for zero in ZERO_STAGES
    }


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_two_ranks_equal_one_in_fp32(
    over_two_ranks: dict[tuple[str, int], list[Result]], digits: Digits, zero_stage: int
) -> None:
    alone = run_stage(SoloGroup(), digits, digits.autoencoder(), SCHEDULED, EVERY_STEP)
    for result in over_two_ranks["fp32", zero_stage]:
        np.testing.assert_allclose(result.losses, alone.losses, rtol=1e-4, atol=0)
        for name, value in alone.weights.items():
            np.testing.assert_allclose(result.weights[name], value, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_zero_stages_agree_in_bf16(
    over_two_ranks: dict[tuple[str, int], list[Result]], digits: Digits, zero_stage: int
) -> None:
    reference = over_two_ranks["bf16", 0][0]
    plain = digits.autoencoder()
    for result in over_two_ranks["bf16", zero_stage]:
        np.testing.assert_allclose(result.losses, reference.losses, rtol=0.02, atol=0)
        assert {value.dtype for value in result.weights.values()} == {np.dtype(np.float32)}
        for name, value in reference.weights.items():
            distance = np.linalg.norm(result.weights[name] - value)
            assert distance <= 0.02 * np.linalg.norm(value), name
        assert result.trained.weights is not None
        plain.load_state_dict(result.trained.weights)
    assert reference.losses[-1] < 0.5 * reference.losses[0]


@pytest.mark.slow
def test_published_bf16_weights_are_the_masters(over_two_ranks: dict[tuple[str, int], list[Result]]) -> None:
    """Weights rounded to bf16 would have lost the small updates."""
    for zero_stage in ZERO_STAGES:
        for name, value in over_two_ranks["bf16", zero_stage][0].weights.items():
            if value.ndim:
                assert (torch.from_numpy(value).bfloat16().float().numpy() != value).mean() > 0.9, name
