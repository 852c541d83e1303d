"""The few samples of each generation that are kept to be looked at."""

from collections.abc import Callable

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.data.shards import encode_shard

PREVIEW = "preview.parquet"
NUM_PREVIEW = 32


def preview_shard(
    payload: Payload, generation: int, producer: str, num_samples: int, sample: Callable[[int, int], np.ndarray]
) -> bytes:
    """The first evaluation samples of a model: retention removes shards, and the last generation has none."""
    count = min(NUM_PREVIEW, num_samples)
    return encode_shard(payload, np.arange(count), "synthetic", generation, producer, sample(0, count))
