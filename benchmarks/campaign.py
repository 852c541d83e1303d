"""What a campaign on many nodes asks of its driver: hundreds of lineages, one on each of 64 nodes at a time.

python benchmarks/campaign.py [--lineages 500] [--nodes 64] [--depth 6] [--seconds 10]

The driver is the real one: Ray Tune, the search, verdicts, claims, budgets, the sweep's document. Only the work is
simulated: a trial is a process of its own that sleeps for a generation and reports values of a known curve. What is
printed is the driver's CPU time and memory, which do not depend on how busy the machine is; docs/scaling.md says what
follows from them for a thousand nodes.
"""

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray.tune import PlacementGroupFactory, Trainable

from collapse_ray.lineage.launch import UNMETERED
from collapse_ray.search import runner
from collapse_ray.search.events import ENDED, SweepEvent
from collapse_ray.search.spec import Sweep, load_sweep
from collapse_ray.search.trial import Trial

DEPTH, SECONDS = "CAMPAIGN_DEPTH", "CAMPAIGN_SECONDS"


@dataclass(frozen=True)
class SimulatedGiven:
    """All lineages share a trunk, as those of one source and seed do."""

    id: str
    trunk: str = "0" * 32


class Simulated(Trainable):
    """Sleeps; the variance shrinks by a tenth in each generation. Imports nothing of ours, as 64 of them must fit."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        return PlacementGroupFactory([{"CPU": float(os.environ["CAMPAIGN_CPUS"])}])

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config, self._generation = {"key": new_config["key"]}, 0
        return True

    def step(self) -> dict[str, Any]:
        self._generation += 1
        time.sleep(float(os.environ[SECONDS]))
        is_last = self._generation == int(os.environ[DEPTH])
        values = {"variance_ratio": 0.9**self._generation, "variance_ratio_stderr": 0.01}
        return {
            "key": self.config["key"],
            "generation": self._generation,
            "state": "complete" if is_last else "running",
            "metrics": values,
            "verdicts": {},
            "reason": None,
            "reused": False,
            "cost_s": float(os.environ[SECONDS]),
            "done": is_last,
        }


def simulated_preparer(sweep: Sweep, store: object, marker: object, sources: object) -> Any:
    def prepare(trial: Trial) -> SimulatedGiven:
        return SimulatedGiven(f"{sweep.lineage_name(trial.point)}-{trial.seed}")

    return prepare


class Watch:
    """The driver's CPU time and memory at each report and at each end of a lineage."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float]] = []
        self.rss_mb: list[float] = []
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, event: SweepEvent) -> None:
        if (event.trial.key, event.generation) not in self._seen and event.generation:
            self._seen.add((event.trial.key, event.generation))
            self.reports.append((time.monotonic(), time.process_time()))
        if event.state in ENDED:
            self.rss_mb.append(psutil.Process().memory_info().rss / 2**20)


def spec_of(lineages: int, depth: int, cpus: float, folder: Path) -> Sweep:
    fractions = [round(0.05 + 0.9 * number / lineages, 6) for number in range(lineages)]
    base = {
        "source": {"kind": "normal", "num_samples": 50},
        "family": "gaussian",
        "regime": "mix",
        "evaluate": {"num_samples": 64, "metrics": ["variance_ratio"]},
    }
    run = {"store": str(folder / "store"), "cpus_per_worker": cpus, "meter": {"enabled": False}}
    path = folder / "campaign.yaml"
    path.write_text(json.dumps({"base": base, "axes": {"regime.real_fraction": fractions}, "depth": depth, "run": run}))
    return load_sweep(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lineages", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    cpus = len(os.sched_getaffinity(0)) / arguments.nodes  # of this machine, so that as many trials fit on it
    os.environ.update({DEPTH: str(arguments.depth), SECONDS: str(arguments.seconds), "CAMPAIGN_CPUS": str(cpus)})
    patched: Any = runner
    patched.lineage_trial, patched.Preparer = lambda common: Simulated, simulated_preparer
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        sweep = spec_of(arguments.lineages, arguments.depth, cpus, Path(folder))
        outcome = runner.run_sweep(sweep, watch, UNMETERED)
    assert [lineage.state for lineage in outcome.lineages] == ["complete"] * arguments.lineages
    warm = len(watch.reports) // 5
    (begin_s, begin_cpu_s), (end_s, end_cpu_s) = watch.reports[warm], watch.reports[-1]
    num_reports = len(watch.reports) - 1 - warm
    cpu_s = (end_cpu_s - begin_cpu_s) / num_reports
    first, last = watch.rss_mb[len(watch.rss_mb) // 5], watch.rss_mb[-1]
    print(f"{arguments.lineages} lineages of {arguments.depth} generations of {arguments.seconds:g} s, "
          f"{arguments.nodes} at a time")  # fmt: skip
    print(f"reports                    {num_reports / (end_s - begin_s):7.1f} a second")
    print(
        f"driver's CPU time          {cpu_s * 1000:7.1f} ms a generation, "
        f"{cpu_s * arguments.depth * 1000:.0f} ms a lineage"
    )
    print(f"driver's memory            {first:7.0f} MB after a fifth of the lineages, {last:.0f} MB after all, "
          f"{(last - first) / (0.8 * arguments.lineages) * 1024:.0f} kB a lineage")  # fmt: skip
    for nodes in (64, 1000):
        busy = math.ceil(nodes * cpu_s / 0.5)
        print(f"half a core carries {nodes:5d} nodes where a generation takes {busy} s or longer")


if __name__ == "__main__":
    main()
