"""How synthetic samples are made."""

from typing import Literal

from pydantic import PositiveInt

from collapse_ray.config.spec import Spec
from collapse_ray.model.family import SamplingSpec

Precision = Literal["fp32", "bf16"]


class GenerateSpec(Spec):
    """The generate stage: everything in it can change the bytes of a sample, so all of it is identity."""

    sampling: SamplingSpec = SamplingSpec()
    """Temperature and token filters."""
    block_size: PositiveInt = 256
    """Samples made at once. Blocks are cut by sample_id, not by worker: matrix products round differently for
    different batch shapes, so equal blocks are what makes the same bytes come out of any number of workers."""
    precision: Precision = "fp32"
    """Of matrix products while sampling (`torch.autocast`). Closed-form families always use double precision."""
