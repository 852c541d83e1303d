"""Fixed seconds per generation: what a generation costs beside its training, sampling and metrics.

python benchmarks/generation_overhead.py [--generations 12] [--restarts 3]

A generation of one step, a few samples and one metric is nearly all overhead: look-ups, a Ray Data stream, a DeepSpeed
engine, publishing, reporting. Three ways to run it, in one Ray of this machine: a resident group of two workers, Ray
Train's local mode, and a Train run of its own for each generation, which is what the resident group saves.
"""

import argparse
import json
import tempfile
import time

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.launch import check_all, run_on_ray
from collapse_ray.lineage.progress import Listener, StageEvent, ignore
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.cluster import cluster
from collapse_ray.train.execution import RunConfig

SPEC = {
    "source": "digits",
    "family": {"kind": "vae", "latent_size": 2, "hidden": [4]},
    "regime": {"kind": "replace", "num_samples": 64},
    "train": {"steps": 1, "batch_size": 64},
    "generate": {"block_size": 32},
    "evaluate": {"num_samples": 32, "metrics": ["variance_ratio"]},
}


def resident(run: RunConfig, depth: int) -> float:
    """Seconds per generation after the first, within one run."""
    begins = dict[int, float]()

    def listener(event: StageEvent) -> None:
        if event.stage == "train":
            begins.setdefault(event.generation, time.monotonic())

    _run(run, depth, listener)
    return (begins[depth] - begins[2]) / (depth - 2)


def restarted(run: RunConfig, generations: int) -> float:
    """Seconds per generation when each is a Train run of its own: the same command, one generation deeper each time."""
    _run(run, 1)
    begin = time.monotonic()
    for depth in range(2, generations + 2):
        _run(run, depth)
    return (time.monotonic() - begin) / generations


def _run(run: RunConfig, depth: int, listener: Listener = ignore) -> None:
    lineage = LineageSpec.model_validate_json(json.dumps({**SPEC, "depth": depth}))
    run_on_ray(check_all([Experiment("overhead", (lineage,), run)], Store(run.store)), run, listener)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=12)
    parser.add_argument("--restarts", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        two = RunConfig(store=f"{folder}/resident", workers=2, cpus_per_worker=0.5, zero_stage=1)
        local = two.model_copy(update={"store": f"{folder}/local", "workers": 0})
        alone = two.model_copy(update={"store": f"{folder}/alone"})
        with cluster(two):
            in_local_mode = resident(local, arguments.generations)
            in_group = resident(two, arguments.generations)
            each_alone = restarted(alone, arguments.restarts)
    print(f"local mode                      {in_local_mode:6.2f} s per generation  (at most 0.20 wanted)")
    print(f"resident group of two workers   {in_group:6.2f} s per generation  (at most 1.00 wanted, 0.50 aimed at)")
    print(f"a Train run for each generation {each_alone:6.2f} s per generation")
    print(
        f"ratios: restarted / resident {each_alone / in_group:.1f}, restarted / local {each_alone / in_local_mode:.1f}"
    )


if __name__ == "__main__":
    main()
