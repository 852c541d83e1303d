"""The loss of a block depends on the block, the weights and the address, on nothing else."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from collapse_ray.evaluate.score import score_block
from collapse_ray.model.family import Generator, SamplingSpec

CPU = torch.device("cpu")
IDS = np.arange(10, 14)
ROWS = np.arange(8.0).reshape(4, 2)


class Unit(Generator):
    """A standard normal per component, with or without noise on its loss."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.mean = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, payload: Tensor) -> Tensor:
        loss = -torch.distributions.Normal(self.mean, 1).log_prob(payload).sum(dim=1)
        return loss + self.noise * torch.randn(len(payload), dtype=payload.dtype)

    def draw_noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        raise NotImplementedError

    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        raise NotImplementedError


def test_a_deterministic_loss_is_the_closed_form() -> None:
    loss = score_block(Unit(0), 0, 1, IDS, ROWS, CPU)
    assert loss.dtype == np.float64
    np.testing.assert_allclose(loss, (ROWS**2).sum(axis=1) / 2 + np.log(2 * np.pi))


def test_noise_depends_on_the_address_only() -> None:
    generator = Unit(1)
    first = score_block(generator, 0, 1, IDS, ROWS, CPU)
    torch.randn(100)
    np.testing.assert_array_equal(score_block(generator, 0, 1, IDS, ROWS, CPU), first)
    for seed, generation, ids in ((1, 1, IDS), (0, 2, IDS), (0, 1, IDS + 4)):
        assert (score_block(generator, seed, generation, ids, ROWS, CPU) != first).all()


def test_torchs_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    score_block(Unit(1), 0, 1, IDS, ROWS, CPU)
    assert torch.equal(torch.randn(3), expected)


def test_read_only_rows_are_scored_and_left_alone() -> None:
    """Rows that come from Arrow cannot be written."""
    rows = ROWS.copy()
    rows.flags.writeable = False
    np.testing.assert_array_equal(
        score_block(Unit(1), 0, 1, IDS, rows, CPU), score_block(Unit(1), 0, 1, IDS, ROWS, CPU)
    )
