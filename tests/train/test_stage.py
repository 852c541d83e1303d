"""What a stage counts, weighs and refuses."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rank_pool import RankPool
from stage_runs import Autoencoder, Digits, Result, run_stage

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.data.reader import Batch, plain_stream
from collapse_ray.data.regime import Part, PoolPlan
from collapse_ray.lineage.index import read_indices
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.model.families.gaussian import Spec as GaussianSpec
from collapse_ray.model.family import ClosedForm
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import Group, SoloGroup
from collapse_ray.train.spec import OptimizerSpec, TrainSpec
from collapse_ray.train.stage import fit_closed_form, row_weights

TRAIN = TrainSpec(steps=20, batch_size=32, precision="fp32")
DIVERGING = TrainSpec(steps=20, batch_size=32, precision="fp32", optimizer=OptimizerSpec(lr=1e30))
WEIGHTED = PoolPlan((Part(0, np.arange(24)), Part(1, np.arange(8))), real_weight=0.4)
"""24 real rows with 0.4 of the loss, 8 synthetic ones with 0.6."""


def first_batch(digits: Digits, is_real: np.ndarray) -> Batch:
    batch = next(iter(plain_stream(digits.store, digits.pool, digits.order(TRAIN), 0, 1)))
    return replace(batch, is_real=is_real)


# Divergence ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_loss_that_is_not_finite_ends_the_stage(digits: Digits, precision: str, zero_stage: int) -> None:
    train = TrainSpec.model_validate({**DIVERGING.model_dump(), "precision": precision})
    run = RunConfig.model_validate({"window_steps": 5, "zero_stage": zero_stage})
    result = run_stage(SoloGroup(), digits, digits.vae(), train, run)
    assert result.trained.diverged
    assert result.losses == []
    assert result.trained.train_loss is None
    assert result.trained.realised["steps"] == 5
    assert result.trained.realised["num_real_seen"] == 5 * 32


class Spiked(Autoencoder):
    """A finite loss whose gradient is not: the root of a sum of squares that is zero."""

    def forward(self, payload: torch.Tensor) -> torch.Tensor:
        return super().forward(payload) + (next(self.parameters()) * 0).float().square().sum().sqrt()


@pytest.mark.parametrize("zero_stage", [0, 1])
def test_bf16_updates_are_not_skipped_in_silence(digits: Digits, zero_stage: int) -> None:
    """DeepSpeed leaves an update out for a gradient that is not finite, and the loss would stay where it is."""
    run = RunConfig.model_validate({"window_steps": 5, "zero_stage": zero_stage})
    train = TRAIN.model_copy(update={"precision": "bf16"})
    assert run_stage(SoloGroup(), digits, Spiked(digits.payload), train, run).trained.diverged


def diverge(group: Group, digits: Digits) -> Result:
    return run_stage(group, digits, digits.vae(), DIVERGING, RunConfig(workers=2, window_steps=5, zero_stage=2))


@pytest.mark.slow
def test_all_ranks_agree_that_it_diverged(two_ranks: RankPool, digits: Digits) -> None:
    first, second = two_ranks.run(diverge, digits)
    assert first.trained == second.trained
    assert first.trained.diverged
    assert first.trained.realised["num_real_seen"] == 5 * 32


def test_a_diverged_lineage_ends_and_is_not_trained_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    lineage = LineageSpec.model_validate(
        {
            "source": "digits",
            "family": {"kind": "vae", "hidden": (4,)},
            "regime": "replace",
            "depth": 3,
            "train": DIVERGING,
            "evaluate": {"metrics": ("real_test_loss",), "num_samples": 0},
        }
    )
    run = RunConfig(store=store.uri, window_steps=5)
    lives = []
    for _ in range(2):
        events = list[StageEvent]()
        (progress,) = run_plain(check_all([Experiment("lost", (lineage,), run)], store), run, events.append)
        assert (progress.verdict, progress.generation, progress.evaluations) == ("diverged", 1, [])
        assert (progress.models[0].outcome, progress.models[0].files) == ("diverged", ())
        lives.append([(event.stage, event.reused) for event in events if event.artifact is not None])
    assert lives == [[("train", False)], [("train", True)]]
    (index,) = read_indices(store)
    (generation,) = index["generations"]
    assert index["verdict"] == "diverged"
    assert (generation["evaluation"], generation["samples"]) == (None, None)
    assert not (tmp_path / "artifacts" / "evaluation").exists()


# The plan ------------------------------------------------------------------------------------------


def lying(digits: Digits) -> Iterable[Batch]:
    for step, batch in enumerate(plain_stream(digits.store, digits.pool, digits.order(TRAIN), 0, 1)):
        is_real = batch.is_real.copy()
        is_real[0] = step != 12
        yield replace(batch, is_real=is_real)


def test_one_row_of_another_origin_is_noticed(digits: Digits) -> None:
    with pytest.raises(PlanMismatch, match="steps 10 to 14: 160 real and 0 synthetic rows were planned, 159 and 1"):
        run_stage(
            SoloGroup(), digits, digits.vae(), TRAIN, RunConfig(window_steps=5), stream=lambda first: lying(digits)
        )


def test_a_stream_that_ends_early_is_noticed(digits: Digits) -> None:
    with pytest.raises(PlanMismatch, match="training ended after step 3, 20 steps were planned"):
        run_stage(
            SoloGroup(),
            digits,
            digits.vae(),
            TRAIN,
            RunConfig(),
            stream=lambda first: list(plain_stream(digits.store, digits.pool, digits.order(TRAIN), 0, 1))[:4],
        )


# Weights -------------------------------------------------------------------------------------------


def test_row_weights_give_real_rows_their_share() -> None:
    weigh = row_weights(WEIGHTED)
    assert weigh is not None
    weight = weigh(np.arange(32) < 24)
    assert weight[:24].sum() / weight.sum() == pytest.approx(0.4)
    assert weight.mean() == pytest.approx(1)
    assert row_weights(replace(WEIGHTED, real_weight=None)) is None


@pytest.mark.parametrize("num_micro", [1, 4])
def test_weights_reach_loss_and_gradient(digits: Digits, num_micro: int) -> None:
    """AdamW's first update is lr g / (|g| + eps): with lr = eps = 1e6 it is the gradient itself."""
    train = TrainSpec(
        steps=1, batch_size=32, precision="fp32", clip_norm=None, optimizer=OptimizerSpec(lr=1e6, eps=1e6)
    )
    is_real = np.random.default_rng(0).permutation(np.arange(32) < 24)
    batch = first_batch(digits, is_real)
    generator = digits.autoencoder()
    per_sample = generator(torch.from_numpy(batch.payload))
    expected = 0.4 * per_sample[torch.from_numpy(is_real)].mean() + 0.6 * per_sample[torch.from_numpy(~is_real)].mean()
    gradients = dict(
        zip(
            (name for name, _ in generator.named_parameters()),
            torch.autograd.grad(expected, list(generator.parameters())),
            strict=True,
        )
    )
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    digits_of_two = replace(digits, pool=replace(digits.pool, plan=WEIGHTED))
    result = run_stage(
        SoloGroup(),
        digits_of_two,
        generator,
        train,
        RunConfig(micro_batch_size=32 // num_micro),
        stream=lambda first: [batch],
    )
    assert result.losses == pytest.approx([expected.item()], rel=1e-5)
    assert result.trained.realised["seen_real_fraction"] == 0.75
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            before[name] - torch.from_numpy(result.weights[name]), gradient, rtol=1e-4, atol=1e-5
        )


# Closed form ---------------------------------------------------------------------------------------


def test_closed_form_is_the_weighted_mean() -> None:
    rows = np.random.default_rng(1).standard_normal((32, 2))
    is_real = np.arange(32) < 24
    batches = [
        Batch(rows[part], is_real[part], np.arange(32)[part], np.zeros(32, np.int32)[part])
        for part in (slice(0, 20), slice(20, 32))
    ]
    generator = GaussianSpec().build(Payload("vector", (2,)))
    assert isinstance(generator, ClosedForm)
    trained = fit_closed_form(generator, WEIGHTED, lambda first: batches, SoloGroup())
    assert trained.weights is not None
    mean = 0.4 * rows[:24].mean(0) + 0.6 * rows[24:].mean(0)
    np.testing.assert_allclose(trained.weights["mean"].numpy().reshape(-1), mean, rtol=1e-6)
    assert trained.train_loss is None
    assert trained.realised["seen_real_fraction"] == 0.75


def test_closed_form_notices_other_rows() -> None:
    batch = Batch(np.zeros((32, 2)), np.ones(32, bool), np.arange(32), np.zeros(32, np.int32))
    generator = GaussianSpec().build(Payload("vector", (2,)))
    assert isinstance(generator, ClosedForm)
    with pytest.raises(PlanMismatch, match="the plan has 24 real rows of 32, the stream gave 32"):
        fit_closed_form(generator, WEIGHTED, lambda first: [batch], SoloGroup())
