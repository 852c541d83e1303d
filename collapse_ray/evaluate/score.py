"""The test loss of held-out rows under a generator."""

import numpy as np
import torch

from collapse_ray.config.noise import torch_seed
from collapse_ray.model.family import Generator


def score_block(
    generator: Generator,
    seed: int,
    generation: int,
    sample_ids: np.ndarray,
    payload: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Test loss (B,) in nats, float64, of one block of held-out rows.

    A stochastic loss (an ELBO, say) draws from torch's global generator, which is seeded here for the block and put
    back afterwards: the result depends on the block, not on which rank scores it or what was scored before.

    Args:
        generator: in evaluation mode, on `device`.
        seed: the lineage's seed.
        generation: the generation under evaluation.
        sample_ids: (B,) ids of the rows, B >= 1; the first one addresses the block's noise.
        payload: (B, *shape) rows of the payload's dtype.
        device: where the loss is computed.
    """
    cuda_devices = [device] if device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices=cuda_devices):
        torch.manual_seed(torch_seed(seed, generation, "evaluate", int(sample_ids[0])))
        loss = generator.test_loss(torch.tensor(payload, device=device))
    return loss.double().cpu().numpy()
