"""Samples per second of a training stage (Ray Data, DeepSpeed, audit) against a bare torch loop on the same batches.

python benchmarks/train_throughput.py [--steps 400] [--repeats 5]

The two alternate in one process and one run; the ratio of their medians is what counts.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np
import torch

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch, Pool, plain_stream
from collapse_ray.data.stream import ray_stream
from collapse_ray.lineage.prepare import prepare
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.model.families.vae import Spec as Vae
from collapse_ray.model.family import Generator
from collapse_ray.train.checkpoints import StageCheckpoints
from collapse_ray.train.cluster import cluster
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup
from collapse_ray.train.spec import OptimizerSpec, TrainSpec
from collapse_ray.train.stage import train_with_gradients


def bare_loop(generator: Generator, rows: np.ndarray, train: TrainSpec, num_steps: int) -> None:
    """Twenty lines of torch: shuffled batches from memory, AdamW, clipping."""
    optimizer = torch.optim.AdamW(generator.parameters(), lr=train.optimizer.lr, weight_decay=0.0)
    data = torch.from_numpy(rows)
    position = len(data)
    order = torch.arange(len(data))
    for _ in range(num_steps):
        if position + train.batch_size > len(data):
            order, position = torch.randperm(len(data)), 0
        batch = data[order[position : position + train.batch_size]]
        position += train.batch_size
        loss = generator(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    train = TrainSpec(
        steps=arguments.steps, batch_size=arguments.batch_size, precision="fp32", optimizer=OptimizerSpec(lr=1e-3)
    )
    with tempfile.TemporaryDirectory() as folder:
        run = RunConfig(store=folder, workers=0, zero_stage=0)
        lineage = LineageSpec.model_validate(
            {"source": "digits", "family": {"kind": "vae"}, "regime": "replace", "depth": 1, "train": train}
        )
        store = Store(folder)
        prepared = prepare(lineage, store)
        samples = prepared.train
        plan = lineage.regime.plan(seed=0, generation=1, num_real=samples.num_samples)
        pool = Pool(plan, {0: samples.fingerprint}, {0: samples.layout}, samples.payload)
        order = Order.of(plan, seed=0, generation=1, batch_size=train.batch_size, num_steps=train.steps or 0)
        rows = np.concatenate([batch.payload for batch in _first_epoch(store, pool, order)])
        ours, bare = [], []
        with cluster(run):
            for repeat in range(arguments.repeats + 1):
                begin = time.perf_counter()
                train_with_gradients(
                    _new(samples.payload),
                    train,
                    run,
                    plan,
                    order,
                    lambda first: ray_stream(store, pool, order, 0, 1, first),
                    group=SoloGroup(),
                    checkpoints=StageCheckpoints(store, "0" * 32, "benchmark", SoloGroup()),
                    on_step=lambda step, loss: None,
                )
                middle = time.perf_counter()
                bare_loop(_new(samples.payload), rows, train, order.num_steps)
                if repeat:  # the first round starts Ray's read workers and warms the allocator
                    ours.append(middle - begin)
                    bare.append(time.perf_counter() - middle)
    seen = order.num_rows_seen
    ratio = statistics.median(bare) / statistics.median(ours)
    print(f"stage {seen / statistics.median(ours):10.0f} samples/s")
    print(f"bare  {seen / statistics.median(bare):10.0f} samples/s")
    print(f"ratio {ratio:10.2f}  (at least 0.90 wanted; {arguments.repeats} rounds of {arguments.steps} steps)")


def _new(payload: Payload) -> Generator:
    torch.manual_seed(0)
    return Vae(hidden=(32, 64)).build(payload)


def _first_epoch(store: Store, pool: Pool, order: Order) -> Iterator[Batch]:
    steps = max(1, order.num_rows // order.batch_size)
    for step, batch in enumerate(plain_stream(store, pool, order, 0, 1)):
        if step == steps:
            return
        yield batch


if __name__ == "__main__":
    main()
