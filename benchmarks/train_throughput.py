"""Samples per second of a training stage (Ray Data, DeepSpeed, audit) against a bare torch loop on the same batches.

python benchmarks/train_throughput.py [--repeats 5]

The two alternate in one process and one run; the ratio of their medians is what counts. What a stage costs once (the
start of its stream and of its engine) is told apart: generation_overhead.py holds it against its own bound.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np
import torch

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.order import Order
from collapse_ray.data.reader import Batch, Pool, plain_stream
from collapse_ray.data.stream import ray_stream
from collapse_ray.energy.marks import NoMarks
from collapse_ray.lineage.prepare import open_real, publish_real
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.model.family import Generator
from collapse_ray.train.checkpoints import StageCheckpoints
from collapse_ray.train.cluster import cluster
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup
from collapse_ray.train.spec import OptimizerSpec, TrainSpec
from collapse_ray.train.stage import Window, train_with_gradients


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


@dataclass(frozen=True)
class Case:
    """A model and its data; steps per round, since a step of one takes forty times that of another."""

    source: dict[str, Any]
    family: dict[str, Any]
    batch_size: int
    num_steps: int


CASES = {
    # 44 thousand parameters: the fixed cost of a step weighs most here.
    "digits VAE": Case({"kind": "digits"}, {"kind": "vae", "hidden": [32, 64]}, 128, 1500),
    # 0.8 million parameters, as small as a language model comes.
    "pydoc GPT-2": Case({"kind": "pydoc", "context": 64}, {"kind": "transformer"}, 32, 50),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = RunConfig(store=folder, workers=0, zero_stage=0)
        with cluster(run):
            for name, case in CASES.items():
                measure(name, case, run, arguments.repeats)


def measure(name: str, case: Case, run: RunConfig, repeats: int) -> None:
    """Alternates the stage and the bare loop, and prints the ratio of their medians."""
    run = run.model_copy(update={"window_steps": min(run.window_steps, case.num_steps // 5)})
    train = TrainSpec(
        steps=case.num_steps, batch_size=case.batch_size, precision="fp32", optimizer=OptimizerSpec(lr=1e-3)
    )
    spec = {"source": case.source, "family": case.family, "regime": "replace", "depth": 1, "train": train}
    lineage = LineageSpec.model_validate(spec)
    store = Store(run.store)
    samples = publish_real(lineage, open_real(lineage), store, NoMarks()).train
    plan = lineage.regime.plan(seed=0, generation=1, num_real=samples.num_samples)
    pool = Pool(plan, {0: samples.fingerprint}, {0: samples.layout}, samples.payload)
    order = Order.of(plan, seed=0, generation=1, batch_size=case.batch_size, num_steps=case.num_steps)
    rows = np.concatenate([batch.payload for batch in _first_epoch(store, pool, order)])
    whole, steady, bare = list[float](), list[float](), list[float]()
    for repeat in range(repeats + 1):
        windows = list[Window]()
        begin = time.perf_counter()
        train_with_gradients(
            _new(lineage, samples.payload),
            train,
            run,
            plan,
            order,
            lambda first: ray_stream(store, pool, order, 0, 1, first),
            group=SoloGroup(),
            checkpoints=StageCheckpoints(store, "0" * 32, "benchmark", SoloGroup()),
            on_step=windows.append,
        )
        middle = time.perf_counter()
        bare_loop(_new(lineage, samples.payload), rows, train, order.num_steps)
        end = time.perf_counter()
        if repeat:  # the first round starts Ray's read workers and warms the allocator
            # The first window waits for the stream to start, which a stage pays once, however long it is.
            later = windows[1:]
            steady.append(sum(window.duration_s for window in later) / sum(window.num_steps for window in later))
            whole.append((middle - begin) / order.num_steps)
            bare.append((end - middle) / order.num_steps)
    bare_s, steady_s, whole_s = map(statistics.median, (bare, steady, whole))
    print(
        f"{name:12} training {case.batch_size / steady_s:8.0f} samples/s   "
        f"bare {case.batch_size / bare_s:8.0f} samples/s   "
        f"ratio {bare_s / steady_s:.2f} (at least 0.90 wanted)   "
        f"whole stage of {order.num_steps} steps {bare_s / whole_s:.2f}"
    )


def _new(lineage: LineageSpec, payload: Payload) -> Generator:
    torch.manual_seed(0)
    return lineage.family.build(payload)


def _first_epoch(store: Store, pool: Pool, order: Order) -> Iterator[Batch]:
    steps = max(1, order.num_rows // order.batch_size)
    for step, batch in enumerate(plain_stream(store, pool, order, 0, 1)):
        if step == steps:
            return
        yield batch


if __name__ == "__main__":
    main()
