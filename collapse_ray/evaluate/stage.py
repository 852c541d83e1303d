"""Evaluate a generator on held-out real data; every rank takes its share of blocks, summaries are merged."""

from collections.abc import Callable

import numpy as np
import torch

from collapse_ray.artifact.store import Store
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import decode_shard, payload_array
from collapse_ray.evaluate.score import score_block
from collapse_ray.evaluate.spec import EvaluateSpec
from collapse_ray.evaluate.summaries import Evaluation
from collapse_ray.model.family import Generator

SampleBlock = Callable[[int, int], np.ndarray]
"""Payloads of evaluation samples with ids [start, stop)."""


def evaluate_share(
    generator: Generator,
    spec: EvaluateSpec,
    holdout: SampleSet,
    sample: SampleBlock,
    sample_block_size: int,
    store: Store,
    *,
    seed: int,
    generation: int,
    rank: int,
    world_size: int,
    device: torch.device,
) -> Evaluation:
    """What this rank's blocks of held-out rows and of evaluation samples say, to be merged with the other ranks'."""
    evaluation = Evaluation.empty(spec, holdout.payload)
    for shard in range(rank, holdout.layout.num_shards, world_size):
        table = decode_shard(store.read("samples", holdout.fingerprint, holdout.layout.name(shard)))
        rows = payload_array(table, holdout.payload)
        sample_ids = table.column("sample_id").to_numpy()
        for start in range(0, len(rows), spec.block_size):
            block = slice(start, start + spec.block_size)
            loss = score_block(generator, seed, generation, sample_ids[block], rows[block], device)
            evaluation.update_real(sample_ids[block], rows[block], loss)
    blocks = range(0, spec.num_samples, sample_block_size)
    for start in blocks[rank::world_size]:
        stop = min(start + sample_block_size, spec.num_samples)
        evaluation.update_synthetic(np.arange(start, stop), sample(start, stop))
    return evaluation
