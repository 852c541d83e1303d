"""Error, CPU share and memory of energy meters on GPUs whose energy is known: ours, CodeCarbon and Zeus, side by side.

python benchmarks/meter_accuracy.py [--window 30] [--scenarios constant ramp ...] [--realtime]

The GPUs are those of tests/energy: an NVML of our own with closed-form power, a counter that ticks every 100 ms,
three kinds of power sensors, and faults. Every tool meters every scenario once, in a process of its own that sleeps
through the window, some at a time. The truth is the integral between the moments at which the tool first and last asked
for energy; for ours, between the marks that it tells.

A busy machine shows in the errors: polls that come late find the counter's ticks late. With --realtime (as root) the
threads of every tool wake in time all the same. The first run builds an environment for the peers in build/peers. About
eight minutes.
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meters.scenarios import BEGIN_S, MIXED, TESTBED, Scenario, scenarios

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
RESULTS = HERE / "results" / "meter_accuracy.csv"
OURS = "collapse-ray"
PEERS = {"codecarbon": "3.3.2", "zeus": "0.16.0"}
BOUND_PERCENT = 0.1
COLUMNS = (
    *("scenario", "sensor", "tool", "version", "window_s", "truth_j", "energy_j", "error_percent"),
    *("unknowable_percent", "negative", "cpu_percent", "steady_cpu_percent", "rss_over_bare_mb", "failure"),
)
SPREAD_S = 4.0
"""Windows of a batch begin at random within this time, so that they do not begin and end in one go."""


@dataclass(frozen=True)
class Job:
    """One tool on one scenario."""

    tool: str
    scenario: Scenario


@dataclass(frozen=True)
class Row:
    """What a tool said of a scenario, and the truth."""

    job: Job
    version: str
    truth_j: float | None = None
    energy_j: float | None = None
    negative: bool = False
    """Some device used less than nothing."""
    cpu_percent: float | None = None
    steady_cpu_percent: float | None = None
    rss_mb: float | None = None
    failure: str = ""

    @property
    def error_percent(self) -> float | None:
        return None if self.energy_j is None or self.truth_j is None else 100 * (self.energy_j / self.truth_j - 1)

    @property
    def unknowable_percent(self) -> float | None:
        unknowable_j = self.job.scenario.unknowable_j
        return None if unknowable_j is None or self.truth_j is None else 100 * unknowable_j / self.truth_j


# What it runs on ---------------------------------------------------------------------------------


def build_library(folder: Path) -> None:
    """Our own `libnvidia-ml.so.1`, and the `nvidia-smi` without which CodeCarbon looks for no GPU."""
    library = folder / "libnvidia-ml.so.1"
    compiler = shutil.which("cc") or shutil.which("c++") or sys.exit("install a C compiler: cc or c++")
    source = str(HERE / "meters" / "peers_nvml.c")
    flags = ["-x", "c", "-shared", "-fPIC", "-O1", f"-I{TESTBED}", "-o", str(library), source, "-lm"]
    subprocess.run([compiler, *flags], check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)


def environments() -> dict[str, Path]:
    """The interpreter of each tool; peers that cannot be installed are left out, and it is said why."""
    folder = BUILD / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"building {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    found = {OURS: Path(sys.executable)}
    for name, release in PEERS.items():
        ask = [str(python), "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
        if subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() != release:
            install = [str(python), "-m", "pip", "install", "--quiet", f"{name}=={release}"]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}")
                continue
        found[name] = python
    return found


def bare_mb(python: Path) -> float:
    """Resident memory of an interpreter that imported nothing, in MB."""
    script = "print(open('/proc/self/statm').read().split()[1])"
    pages = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True).stdout
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


# Windows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A process that meters."""

    job: Job
    process: subprocess.Popen[str]
    origin_s: float
    """Zero of its GPUs' clock, in monotonic seconds."""


def run_batch(jobs: Sequence[Job], pythons: dict[str, Path], options: Sequence[str], folder: Path) -> list[Row]:
    """Some jobs at a time.

    They start one after the other, and no window begins before all have found their devices: that takes seconds of CPU
    time, and a tool that learns how its GPUs tick is not to learn it on a machine that the next one keeps busy.
    """
    rng = random.Random(str(jobs[0]))
    runs: list[Run] = []
    ready: list[str] = []
    for index, job in enumerate(sorted(jobs, key=lambda job: job.tool == OURS)):
        runs.append(_start(job, pythons[job.tool], options, folder / str(index)))
        ready.append(_line(runs[-1]))
    begin_s = time.monotonic() + 1
    for run in runs:
        run_begin_s = begin_s + SPREAD_S * rng.random()
        with suppress(BrokenPipeError):  # of a tool that failed
            print(run_begin_s, run_begin_s - run.origin_s - BEGIN_S, file=run.process.stdin, flush=True)
    return [_row(run, _line(run) if first == "ready\n" else first) for run, first in zip(runs, ready, strict=True)]


def _start(job: Job, python: Path, options: Sequence[str], config: Path) -> Run:
    config.write_text(job.scenario.config)
    origin_s = time.monotonic() - 0.9 * BEGIN_S  # GPUs that have been up for a while
    env = os.environ | {
        "LD_LIBRARY_PATH": str(config.parent),
        "PATH": f"{config.parent}:{os.environ['PATH']}",
        "FAKE_NVML": str(config),
        "FAKE_NVML_ORIGIN": str(origin_s),
    }
    command = [str(python), str(HERE / "meters" / "window.py"), job.tool, *options]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return Run(job, subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=nothing, text=True), origin_s)


def _line(run: Run) -> str:
    assert run.process.stdout is not None
    return run.process.stdout.readline()


def _row(run: Run, line: str) -> Row:
    code = run.process.wait()
    said: dict[str, Any] = json.loads(line) if line else {"error": f"ended with code {code}"}
    version = said.get("version", "")
    if "error" in said:
        return Row(run.job, version, failure=said["error"])
    begin_s, end_s = said["marks_s"]
    energies_j = [energy_j for energy_j in said["energies_j"].values() if energy_j is not None]
    return Row(
        run.job,
        version,
        truth_j=run.job.scenario.energy_j(begin_s - run.origin_s, end_s - run.origin_s),
        energy_j=sum(energies_j),
        negative=min(energies_j, default=0.0) < 0,
        cpu_percent=said["cpu_percent"],
        steady_cpu_percent=said["steady_cpu_percent"],
        rss_mb=said["rss_mb"],
    )


# Results -----------------------------------------------------------------------------------------


def write(rows: Sequence[Row], window_s: float, bare: dict[str, float]) -> None:
    """One line per tool and scenario."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            job = row.job
            over_mb = None if row.rss_mb is None else row.rss_mb - bare[job.tool]
            figures = [row.cpu_percent, row.steady_cpu_percent, over_mb]
            errors = [row.truth_j, row.energy_j, row.error_percent, row.unknowable_percent]
            writer.writerow(
                [job.scenario.name, job.scenario.sensor, job.tool, row.version, window_s]
                + ["" if value is None else f"{value:.5g}" if abs(value) < 1e3 else f"{value:.1f}" for value in errors]
                + [row.negative, *("" if value is None else f"{value:.3g}" for value in figures), row.failure]
            )


def report(rows: Sequence[Row], tools: Sequence[str], bare: dict[str, float]) -> None:
    """Errors of each tool, its cost, and how ours stand to their bounds."""
    by_job = {(row.job.scenario.name, row.job.scenario.sensor, row.job.tool): row for row in rows}
    versions = {row.job.tool: row.version for row in rows}
    print("error in %".ljust(23) + "".join(f"{tool} {versions[tool]}".rjust(26) for tool in tools) + "    unknowable")
    for name, sensor in dict.fromkeys((row.job.scenario.name, row.job.scenario.sensor) for row in rows):
        cells = [by_job[name, sensor, tool] for tool in tools]
        unknowable = next((row.unknowable_percent for row in cells if row.unknowable_percent is not None), None)
        last = "" if unknowable is None else f"{unknowable:14.2f}"
        print(f"{name:16}{sensor:7}" + "".join(_cell(row).rjust(26) for row in cells) + last)
    print()
    for tool in tools:
        costs = [by_job[MIXED, sensor, tool] for sensor in ("ideal", "a100", "h100") if (MIXED, sensor, tool) in by_job]
        costs = [row for row in costs if not row.failure]
        if costs:
            cpu, steady, rss_mb = (
                sum(getattr(row, name) for row in costs) / len(costs)
                for name in ("cpu_percent", "steady_cpu_percent", "rss_mb")
            )
            print(
                f"{tool:13} 8 GPUs: {steady:6.3f} % of a core between the ends of the window, {cpu:6.3f} % with them, "
                f"{rss_mb - bare[tool]:5.1f} MB over a bare interpreter"
            )
    _conclude([row for row in rows if row.job.tool == OURS])


def _cell(row: Row) -> str:
    if row.error_percent is None:
        return row.failure.split(":")[0]
    return f"{row.error_percent:+.3f}" + (" negative" if row.negative else "")


def _conclude(ours: Sequence[Row]) -> None:
    faultless = [row for row in ours if row.job.scenario.unknowable_j is None and row.error_percent is not None]
    if faultless:
        worst = max(abs(row.error_percent or 0.0) for row in faultless)
        ratio = worst / BOUND_PERCENT
        print(f"ours without faults: at most {worst:.3f} %, {ratio:.2f} of the bound of {BOUND_PERCENT} %")
    for row in ours:
        if row.failure:
            print(f"ours with {row.job.scenario.name}: {row.failure}")
        elif row.unknowable_percent is not None:
            error, bound = abs(row.error_percent or 0.0), row.unknowable_percent + BOUND_PERCENT
            print(f"ours with {row.job.scenario.name}: {error:.2f} % (at most {bound:.2f} % wanted)")
    print(f"ours negative: {sum(row.negative for row in ours)} of {len(ours)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=float, default=30.0, help="seconds")
    parser.add_argument("--scenarios", nargs="+", help="names; all of them, if not given")
    parser.add_argument("--tools", nargs="+", default=[OURS, *PEERS], help="all of them, if not given")
    parser.add_argument("--at-once", type=int, default=12, help="windows at a time")
    parser.add_argument("--realtime", action="store_true", help="for a machine that others keep busy; needs root")
    arguments = parser.parse_args()
    options = [str(arguments.window), *(["realtime"] if arguments.realtime else [])]
    chosen = [s for s in scenarios(arguments.window) if not arguments.scenarios or s.name in arguments.scenarios]
    pythons = environments()
    tools = [tool for tool in arguments.tools if tool in pythons]
    jobs = [Job(tool, scenario) for scenario in chosen for tool in tools]
    busy = [job for job in jobs if job.tool == "zeus" and job.scenario.polls_power]
    quiet = [job for job in jobs if job not in busy]
    starts = range(0, len(quiet), arguments.at_once)
    batches = [*(quiet[start : start + arguments.at_once] for start in starts), *([job] for job in busy)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        build_library(Path(folder))
        for number, batch in enumerate(batches, 1):
            print(f"batch {number} of {len(batches)}", file=sys.stderr)
            rows += run_batch(batch, pythons, options, Path(folder))
    order = {job: index for index, job in enumerate(jobs)}
    rows.sort(key=lambda row: order[row.job])
    bare = {tool: bare_mb(pythons[tool]) for tool in tools}
    write(rows, arguments.window, bare)
    report(rows, tools, bare)


if __name__ == "__main__":
    main()
