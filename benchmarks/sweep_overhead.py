"""What a lineage of a sweep costs beside its own work, and whether the driver's memory stays flat.

python benchmarks/sweep_overhead.py [--lineages 100] [--depth 3] [--replicas 5000]

Lineages of Gaussians fit in milliseconds, so that nearly all of their time is overhead: Tune's, the store's, the
claims', the reports'. They run through the same path as any other sweep, and once more one after the other in this
process without Ray. Every lineage has a real fraction of its own, and all share one generation 1. A last sweep has a
single lineage, with independent replicas side by side in one tensor.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.launch import UNMETERED, check_all, run_plain
from collapse_ray.lineage.spec import Experiment
from collapse_ray.search.events import ENDED, SweepEvent
from collapse_ray.search.runner import run_sweep
from collapse_ray.search.spec import Sweep, load_sweep

SPEC: dict[str, Any] = {
    "base": {
        "source": {"kind": "normal", "num_samples": 50, "dimension": 2},
        "family": "gaussian",
        "regime": "mix",
        "generate": {"block_size": 64},
        "evaluate": {"num_samples": 64, "metrics": ["variance_ratio"]},
    },
}


class Watch:
    """When lineages ended, and what the driver's process held then."""

    def __init__(self) -> None:
        self.ends_s = list[float]()
        self.rss_mb = list[float]()
        self.cpu_s = list[float]()

    def __call__(self, event: SweepEvent) -> None:
        if event.state in ENDED:
            self.ends_s.append(time.monotonic())
            self.rss_mb.append(psutil.Process().memory_info().rss / 2**20)
            self.cpu_s.append(time.process_time())


def overhead(num_lineages: int, depth: int, folder: Path) -> tuple[Sweep, Watch]:
    """Runs the sweep in a Ray of its own."""
    fractions = [round(0.05 + 0.9 * number / num_lineages, 6) for number in range(num_lineages)]
    spec = {
        **SPEC,
        "axes": {"regime.real_fraction": fractions},
        "depth": depth,
        "run": {"store": str(folder / "ray"), "cpus_per_worker": 0.5},
    }
    sweep, watch = written(spec, folder), Watch()
    outcome = run_sweep(sweep, watch, UNMETERED)
    assert [lineage.state for lineage in outcome.lineages] == ["complete"] * num_lineages
    return sweep, watch


def written(spec: dict[str, Any], folder: Path) -> Sweep:
    path = folder / "overhead.yaml"
    path.write_text(json.dumps(spec))  # JSON is YAML
    return load_sweep(path, [])


def replicated(num_replicas: int, depth: int, folder: Path) -> float:
    """Seconds of one lineage that stands for many."""
    source = {**SPEC["base"]["source"], "replicas": num_replicas}
    base = {
        **SPEC["base"],
        "source": source,
        "regime": "accumulate",
        "evaluate": {"num_samples": 0, "metrics": ["variance_ratio"]},
    }
    sweep = written({"base": base, "depth": depth, "run": {"store": str(folder / "replicas")}}, folder)
    begins = list[float]()
    outcome = run_sweep(sweep, lambda event: begins.append(time.monotonic()), UNMETERED)
    assert [lineage.state for lineage in outcome.lineages] == ["complete"]
    return begins[-1] - begins[0]


def plain(sweep: Sweep, folder: Path) -> float:
    """Seconds of the same lineages, without Ray."""
    run = sweep.run.model_copy(update={"store": str(folder / "plain")})
    lineages = tuple(sweep.lineage(trial.point, trial.seed) for trial in sweep.trials())
    tasks = check_all([Experiment(sweep.name, lineages, run)], Store(run.store))
    begin = time.monotonic()
    run_plain(tasks, run)
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lineages", type=int, default=100)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.monotonic()
        sweep, watch = overhead(arguments.lineages, arguments.depth, folder)
        total = time.monotonic() - begin
        alone = plain(sweep, folder) / arguments.lineages
        together = replicated(arguments.replicas, arguments.depth, folder)
    warm = arguments.lineages // 5
    each, cpu = ((times[-1] - times[warm]) / (arguments.lineages - 1 - warm) for times in (watch.ends_s, watch.cpu_s))
    print(
        f"{arguments.lineages} lineages of {arguments.depth} generations: {total:.1f} s, start and end of Ray included"
    )
    print(f"one lineage of the sweep   {each * 1000:7.0f} ms, after the first {warm}")
    print(f"CPU time of the driver     {cpu * 1000:7.0f} ms of it, {cpu / arguments.depth * 1000:.0f} ms a generation")
    print(f"the same without Ray       {alone * 1000:7.0f} ms")
    print(
        f"driver's memory            {watch.rss_mb[warm]:7.0f} MB after {warm} lineages, "
        f"{watch.rss_mb[-1]:.0f} MB after {arguments.lineages} "
        f"(peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB)"
    )
    print(f"{arguments.replicas} replicas in one lineage: {60 * arguments.replicas / together:,.0f} lineages a minute")


if __name__ == "__main__":
    main()
