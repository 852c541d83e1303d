"""Sample a generator into shards: every rank samples its share; the bytes do not depend on the number of ranks."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from collapse_ray.artifact.record import FileEntry
from collapse_ray.artifact.store import Attempt, Store
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import encode_shard
from collapse_ray.generate.sample import sample_block
from collapse_ray.generate.spec import GenerateSpec
from collapse_ray.model.family import Generator


def sample_rows(
    generator: Generator,
    spec: GenerateSpec,
    start: int,
    stop: int,
    *,
    seed: int,
    generation: int,
    stage: str,
    device: torch.device,
) -> np.ndarray:
    """Payloads of sample ids [start, stop); `start` is a multiple of the block size.

    Blocks are always sampled whole and then cut, because on most hardware the last bits of a sample depend on the shape
    of its batch.
    """
    blocks = [
        sample_block(
            generator,
            spec.sampling,
            seed,
            generation,
            stage,
            np.arange(first, first + spec.block_size),
            device,
            precision=spec.precision,
        )
        for first in range(start, stop, spec.block_size)
    ]
    return np.concatenate(blocks)[: stop - start]


def write_samples(
    generator: Generator,
    spec: GenerateSpec,
    samples: SampleSet,
    store: Store,
    attempt: Attempt,
    *,
    seed: int,
    generation: int,
    producer: str,
    rank: int,
    world_size: int,
    device: torch.device,
    on_samples: Callable[[int, int], None],
) -> Iterator[FileEntry]:
    """Writes this rank's shards; `on_samples` is told this rank's samples so far, and how many are new."""
    done = 0
    for shard in range(rank, samples.layout.num_shards, world_size):
        start, stop = samples.layout.bounds(shard)
        payload = sample_rows(
            generator, spec, start, stop, seed=seed, generation=generation, stage="generate", device=device
        )
        content = encode_shard(samples.payload, np.arange(start, stop), "synthetic", generation, producer, payload)
        yield store.write(attempt, samples.layout.name(shard), content)
        done += stop - start
        on_samples(done, stop - start)
