"""What a stage may cost where no record tells: a model of stated figures, with intervals as wide as they are vague.

- A stage takes a fixed time, plus its floating-point operations over what the workers reach.
- Training takes 6 operations for each parameter and token (Kaplan et al. 2020, section 2.1), a forward pass 2: scoring
  and sampling. Images and vectors count as one token; an image's convolutions use a weight up to once per pixel.
- Power is the share of the node's CPUs that the workers hold times the thermal design power, plus that of their GPUs.
- Samples are kept as Parquet, compressed; weights as they are.
"""

import math
from dataclasses import dataclass

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.energy.estimate import DEFAULT_W_PER_CORE
from collapse_ray.lineage.preview import NUM_PREVIEW
from collapse_ray.model.family import FamilySpec
from collapse_ray.search.places import Node
from collapse_ray.search.plan.estimate import Estimate
from collapse_ray.search.plan.walk import PlannedStage
from collapse_ray.train.execution import RunConfig


def _stated(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, "model")


STAGE_S = _stated(0.03, 0.002, 3)
"""Fixed time of a stage: reading, loading, publishing."""
CPU_FLOPS = _stated(1e10, 2e8, 1e11)
"""Operations per second that one CPU reaches."""
GPU_FLOPS = _stated(1e13, 1e11, 5e14)
"""Operations per second that one GPU reaches."""
INGEST_BYTES_PER_S = _stated(5e7, 1e6, 1e9)
"""Real data that is read, encoded and written."""
GPU_W = _stated(300, 50, 1000)
"""Power of one GPU while it is held."""
CPU_SHARE = _stated(1, 0.2, 1.5)
"""Power of busy CPUs as a share of their thermal design power."""
COMPRESSED = _stated(0.6, 0.02, 1.05)
"""Bytes of samples in Parquet, as a share of their plain size."""
FILE_BYTES = _stated(3e3, 1e3, 1e4)
"""A record, or what a file has beside its content."""
SHARD_BYTES = _stated(2e3, 1e3, 4e3)
"""A Parquet file without rows."""

FORWARD, TRAINING = 2, 6
"""Operations for each parameter and token."""
SAMPLE_ID_BYTES = 8


@dataclass(frozen=True)
class Outline:
    """Size of a generator."""

    num_parameters: int
    num_bytes: int

    @classmethod
    def of(cls, family: FamilySpec, payload: Payload) -> "Outline":
        """Of a family on a payload, without memory for weights."""
        module = family.outline(payload)
        tensors = [*module.parameters(), *module.buffers()]
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return cls(sum(tensor.numel() for tensor in tensors), num_bytes)


def duration(stage: PlannedStage, outline: Outline, run: RunConfig) -> Estimate:
    """Seconds of a stage."""
    payload = stage.prepared.payload
    if stage.stage == "ingest":
        num_bytes = stage.amount * _plain_bytes(payload)
        speed = INGEST_BYTES_PER_S
        return STAGE_S + _over(_stated(num_bytes, num_bytes, num_bytes), speed)
    lineage, tokens = stage.lineage, payload.size if payload.kind == "tokens" else 1
    if stage.stage == "train":
        each, rows = TRAINING, stage.amount * (lineage.train.batch_size if lineage.train else 1)
    elif stage.stage == "generate":
        each, rows = FORWARD, stage.amount
    else:
        each, rows = FORWARD, lineage.evaluate.num_samples + stage.prepared.holdout.num_samples
    operations = each * outline.num_parameters * tokens * rows
    uses = math.prod(payload.shape[1:]) if payload.kind == "image" else 1
    workers = max(1, run.workers)
    speed = GPU_FLOPS.times(run.num_gpus) if run.num_gpus else CPU_FLOPS.times(workers * run.cpus_per_worker)
    return STAGE_S + _over(_stated(operations * math.sqrt(uses), operations, operations * uses), speed)


def power(stage: str, run: RunConfig, node: Node) -> Estimate:
    """Watts while a stage runs.

    Args:
        stage: real data is read by one CPU, without GPUs.
        run: what the workers hold.
        node: whose CPUs the thermal design power is of.
    """
    watts_per_cpu = run.meter.tdp_w / node["CPU"] if run.meter.tdp_w else DEFAULT_W_PER_CORE
    if stage == "ingest":
        return CPU_SHARE.times(watts_per_cpu)
    watts = CPU_SHARE.times(watts_per_cpu * max(1, run.workers) * run.cpus_per_worker)
    return watts + GPU_W.times(run.num_gpus) if run.num_gpus else watts


def stored(stage: PlannedStage, outline: Outline) -> Estimate:
    """Bytes of a stage's artifact."""
    if stage.stage == "train":
        return FILE_BYTES.times(2) + _stated(outline.num_bytes, outline.num_bytes, outline.num_bytes * 1.1)
    plain = _plain_bytes(stage.prepared.payload) + SAMPLE_ID_BYTES
    if stage.stage == "evaluate":
        num_samples = min(NUM_PREVIEW, stage.lineage.evaluate.num_samples)
        return FILE_BYTES + SHARD_BYTES + COMPRESSED.times(plain * num_samples)
    shards = math.ceil(stage.amount / 256)
    return FILE_BYTES + SHARD_BYTES.times(min(shards, 256)) + COMPRESSED.times(plain * stage.amount)


def _plain_bytes(payload: Payload) -> int:
    return payload.size * np.dtype(payload.dtype).itemsize


def _over(amount: Estimate, speed: Estimate) -> Estimate:
    return Estimate(amount.value / speed.value, amount.low / speed.high, amount.high / speed.low, "model")
