"""Sampling one block of sample ids from one generator."""

import numpy as np
import torch

from collapse_ray.config.noise import sample_generators
from collapse_ray.generate.spec import Precision
from collapse_ray.model.family import Generator, SamplingSpec


@torch.inference_mode()
def sample_block(  # noqa: PLR0917 (the address is three of the seven)
    generator: Generator,
    sampling: SamplingSpec,
    seed: int,
    generation: int,
    stage: str,
    sample_ids: np.ndarray,
    device: torch.device,
    *,
    precision: Precision = "fp32",
) -> np.ndarray:
    """Payloads (B, *shape) of the samples `sample_ids` (B,), in that order.

    The noise of each sample is addressed by (seed, generation, stage, sample_id), so it depends on no other sample. The
    generator lies on `device` and is in evaluation mode; its weights are left as they are.
    """
    noise = generator.draw_noise(sample_generators(sample_ids, seed, generation, stage)).to(device)
    # Autocast leaves double precision alone, as closed forms need.
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return generator.sample(noise, sampling)
