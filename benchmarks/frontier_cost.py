"""What it costs to find the frontier: our search against a grid, random points, ASHA, the median rule and Optuna.

python benchmarks/frontier_cost.py [--sweeps 100] [--peer-sweeps 20] [--csv FILE]

The question: lineages of Gaussians, each generation fitted to 400 rows of which a fixed share is real (regime `mix`)
and the rest comes from a sampler that is a little too sharp (temperature 0.9). Which is the smallest real_fraction at
which half of the lineages keep 65 % of the variance to generation 30? The lineages are run by the product's own source,
regime, family and sampler, many side by side; the truth comes from another simulation, by sufficient statistics, with
10,000 lineages at every fraction. No method sees a lineage twice.

All methods stop at the same width of the interval. Those without an interval get ours: the same curve, and the same
forecasts for lineages that were stopped early. ASHA and the median rule are Ray Tune's, asked through their public
methods without Ray's actors; they, and Optuna's TPE, look for responses next to the threshold.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from collapse_ray.config.noise import generator
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.generate.sample import sample_block
from collapse_ray.model.families.gaussian import Gaussian
from collapse_ray.model.family import FamilySpec, SamplingSpec
from collapse_ray.search.frontier.belief import Belief, observe
from collapse_ray.search.frontier.cost import CostModel
from collapse_ray.search.frontier.forecast import Forecaster
from collapse_ray.search.frontier.problem import FrontierSpec, NumericAxis
from collapse_ray.search.frontier.record import Lineage
from collapse_ray.search.frontier.search import FrontierSearch

ROWS, DEPTH, TEMPERATURE, KEPT = 400, 30, 0.9, 0.65
PATH = "regime.real_fraction"
AXIS = NumericAxis(path=PATH, low=0.0, high=1.0, step=0.01)
PRECISION = 0.1
GRID = [AXIS.value(place) for place in np.linspace(0, 1, 21)]

BLOCK = 64
"""Lineages that are run side by side."""

MOST_LINEAGES = 600
"""A sweep that needs more is given up."""

SHARDS = 2
"""Processes; each runs lineages of its own seeds, so that the result depends on their number."""


# Lineages and the truth ----------------------------------------------------------------------------


class Lineages:
    """Lineages on demand, each given away once."""

    def __init__(self, shard: int) -> None:
        self._seeds = count(shard, SHARDS)
        self._waiting: dict[float, Iterator[np.ndarray]] = {}

    def next(self, fraction: float) -> np.ndarray:
        """Variance of generations 1 to `DEPTH` of a new lineage, as a share of the real one, (DEPTH,)."""
        series = next(self._waiting.get(fraction, iter(())), None)
        if series is None:
            self._waiting[fraction] = iter(run_lineages(fraction, BLOCK, next(self._seeds)))
            series = next(self._waiting[fraction])
        return series


def run_lineages(fraction: float, replicas: int, seed: int) -> np.ndarray:
    """Variances of independent lineages, (replicas, DEPTH), through the product's own parts."""
    source = SourceSpec.resolve({"kind": "normal", "num_samples": ROWS, "replicas": replicas}).open(seed)
    regime = RegimeSpec.resolve({"kind": "mix", "num_samples": ROWS, "real_fraction": fraction})
    family, sampling = FamilySpec.resolve("gaussian"), SamplingSpec(temperature=TEMPERATURE)
    real, latest = source.rows.read(0, ROWS), np.empty((0, *source.payload.shape))
    variances = []
    for generation in range(1, DEPTH + 1):
        model = family.build(source.payload)
        assert isinstance(model, Gaussian)
        for part in regime.plan(seed=seed, generation=generation, num_real=ROWS).parts:
            rows = (real if part.origin == "real" else latest)[part.rows]
            model.update(rows, np.ones(len(rows)))
        model.solve()
        variances.append(model.covariance.reshape(replicas).numpy().copy())
        ids = np.arange(regime.num_to_generate(generation=generation, num_real=ROWS))
        if len(ids):
            latest = sample_block(model, sampling, seed, generation, "generate", ids, torch.device("cpu"))
    return np.stack(variances, axis=1)


def true_frontier(replicas: int = 10_000) -> tuple[float, dict[float, float]]:
    """The smallest fraction at which half of the lineages survive, and the share that survives at each fraction."""
    rng = np.random.default_rng(0)
    fractions = [AXIS.value(place) for place in np.linspace(0, 1, 101)]
    shares = {fraction: survivors(fraction, replicas, rng) for fraction in fractions}
    return min(fraction for fraction, share in shares.items() if share >= 0.5), shares


def survivors(fraction: float, replicas: int, rng: np.random.Generator) -> float:
    """Share of lineages that survive, from the mean and the sum of squares of every part of the pool."""
    num_real = math.floor(ROWS * fraction + 0.5)
    num_other = ROWS - num_real
    real_mean, real_squares = moments(num_real, np.ones(replicas), rng)
    mean, variance = np.zeros(replicas), np.ones(replicas)
    for generation in range(1, DEPTH + 1):
        # Generation 1 has real rows for samples, of which the true variance is 1.
        spread = variance if generation == 1 else TEMPERATURE**2 * variance
        other_mean, other_squares = moments(num_other, spread, rng)
        other_mean = other_mean + mean
        between = num_real * num_other / ROWS * (real_mean - other_mean) ** 2
        mean = (num_real * real_mean + num_other * other_mean) / ROWS
        variance = (real_squares + other_squares + between) / ROWS
    return float(np.mean(variance >= KEPT))


def moments(num_rows: int, variance: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squares about it of so many normal rows of each variance."""
    if num_rows == 0:
        return np.zeros_like(variance), np.zeros_like(variance)
    squares = variance * rng.chisquare(num_rows - 1, len(variance)) if num_rows > 1 else np.zeros_like(variance)
    return np.sqrt(variance / num_rows) * rng.standard_normal(len(variance)), squares


# Methods -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What one sweep found and spent."""

    lower: float | None
    upper: float | None
    width: float
    lineages: int
    generations: int


def spec(seed: int) -> FrontierSpec:
    return FrontierSpec(
        fraction=AXIS, depth=DEPTH, threshold=KEPT, response_scale="log", precision=PRECISION, seed=seed
    )


def searched(lineages: Lineages, seed: int) -> Result:
    """Ours."""
    search = FrontierSearch(spec(seed))
    for key in map(str, range(MOST_LINEAGES)):
        proposal = search.propose(key)
        if isinstance(proposal, str):
            break
        for generation, response in enumerate(lineages.next(float(proposal.values[PATH])), 1):
            search.observe(key, generation, float(response))
            if search.decide(key):
                break
        search.end(key)
    (found,) = search.frontiers()
    return Result(found.lower, found.upper, found.width, len(search.lineages), search.num_generations)


class Sample:
    """Lineages that a method without an interval has run."""

    def __init__(self, seed: int) -> None:
        self.spec = spec(seed)
        self.ended: list[Lineage] = []
        self._forecaster = Forecaster(DEPTH)

    def add(self, fraction: float, series: Sequence[float]) -> None:
        margins = {generation: self.spec.margin(float(value)) for generation, value in enumerate(series, 1)}
        unit = (AXIS.unit(fraction),)
        key, ending = str(len(self.ended)), "depth" if len(series) == DEPTH else "stopped"
        lineage = Lineage(key, (), (fraction,), unit, 0, margins, reached=len(series), ending=ending)
        self.ended.append(lineage)
        self._forecaster.learn(lineage)

    def belief(self) -> Belief | None:
        told = observe(self.ended, self._forecaster)
        return told and Belief(self.spec, (), told, self._forecaster, CostModel([()], self.ended))


def gridded(lineages: Lineages, seed: int) -> Result:
    """All points of the grid, once more in every round."""

    def rounds(sample: Sample) -> Iterator[None]:
        for place in count():
            fraction = GRID[place % len(GRID)]
            sample.add(fraction, lineages.next(fraction).tolist())
            if place % len(GRID) == len(GRID) - 1:
                yield

    return until_precise(seed, rounds)


def at_random(lineages: Lineages, seed: int) -> Result:
    return scheduled(lineages, seed, None)


def with_asha(lineages: Lineages, seed: int) -> Result:
    asha = AsyncHyperBandScheduler(
        time_attr="generation", metric="nearness", mode="max", max_t=DEPTH, grace_period=3, reduction_factor=3
    )
    return scheduled(lineages, seed, asha)


def with_median(lineages: Lineages, seed: int) -> Result:
    median = MedianStoppingRule(time_attr="generation", metric="nearness", mode="max", grace_period=3)
    return scheduled(lineages, seed, median)


def scheduled(lineages: Lineages, seed: int, scheduler: Any) -> Result:
    """Random points; a scheduler of Tune, where there is one, ends those that are farthest from the threshold."""
    rng = generator(seed, "points")

    def batches(sample: Sample) -> Iterator[None]:
        for number in count(1):
            fraction = AXIS.value(float(rng.random()))
            series = lineages.next(fraction)
            depth = _depth(scheduler, _Trial(str(number)), series, sample.spec)
            sample.add(fraction, series[:depth].tolist())
            if number % 10 == 0:
                yield

    return until_precise(seed, batches)


@dataclass(frozen=True)
class _Trial:
    """As much of a trial as Tune's schedulers look at."""

    trial_id: str


_CONTROLLER: Any = SimpleNamespace(get_live_trials=list)
"""As much of Tune: no other trial waits for its turn."""


def _depth(scheduler: Any, trial: _Trial, series: np.ndarray, asked: FrontierSpec) -> int:
    """Generations until the scheduler ends the lineage."""
    if scheduler is None:
        return DEPTH
    scheduler.on_trial_add(_CONTROLLER, trial)
    result: dict[str, float] = {}
    for generation, response in enumerate(series, 1):
        result = {"generation": generation, "nearness": -abs(asked.margin(float(response)))}
        if scheduler.on_trial_result(_CONTROLLER, trial, result) == TrialScheduler.STOP:
            break
    scheduler.on_trial_complete(_CONTROLLER, trial, result)
    return int(result["generation"])


def with_optuna(lineages: Lineages, seed: int) -> Result:
    """Optuna's TPE, asked for the response that is nearest to the threshold at the depth."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def batches(sample: Sample) -> Iterator[None]:
        for number in count(1):
            trial = study.ask()
            fraction = AXIS.value(trial.suggest_float("fraction", 0, 1))
            series = lineages.next(fraction)
            study.tell(trial, abs(sample.spec.margin(float(series[-1]))))
            sample.add(fraction, series.tolist())
            if number % 10 == 0:
                yield

    return until_precise(seed, batches)


def until_precise(seed: int, batches: Callable[[Sample], Iterator[None]]) -> Result:
    """Runs batches until the interval is as narrow as asked; looks again after a tenth more lineages."""
    sample, belief, looked = Sample(seed), None, 0
    for _ in batches(sample):
        if len(sample.ended) >= 1.1 * looked:
            looked = len(sample.ended)
            belief = sample.belief()
            if (belief and belief.is_precise) or looked >= MOST_LINEAGES:
                break
    assert belief is not None
    (found,) = belief.intervals
    generations = sum(lineage.reached for lineage in sample.ended)
    return Result(found.lower, found.upper, found.width, len(sample.ended), generations)


METHODS: dict[str, Callable[[Lineages, int], Result]] = {
    "ours": searched,
    "grid": gridded,
    "random": at_random,
    "ASHA": with_asha,
    "median rule": with_median,
    "Optuna TPE": with_optuna,
}


# Comparison ----------------------------------------------------------------------------------------


def run_shard(shard: int, num_sweeps: dict[str, int]) -> list[dict[str, Any]]:
    """Every `SHARDS`-th sweep of each method."""
    torch.set_num_threads(1)
    rows = []
    for name, method in METHODS.items():
        lineages = Lineages(shard)
        for sweep in range(shard, num_sweeps[name], SHARDS):
            rows.append({"method": name, "sweep": sweep, **vars(method(lineages, sweep))})
    return rows


def covers(row: Any, truth: float) -> bool:
    above = pd.isna(row.lower) or row.lower <= truth
    return bool(above and (pd.isna(row.upper) or truth <= row.upper))


def summary(results: pd.DataFrame) -> pd.DataFrame:
    by_method = results.groupby("method", sort=False)
    table = pd.DataFrame(
        {
            "sweeps": by_method.size(),
            "covered": by_method["covered"].mean(),
            "width": by_method["width"].mean(),
            "lineages": by_method["lineages"].mean(),
            "generations": by_method["generations"].mean(),
            "precise": by_method["width"].agg(lambda width: (width <= PRECISION).mean()),
        }
    )
    table["of grid"] = table["generations"] / table.loc["grid", "generations"]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--peer-sweeps", type=int, default=20)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    truth, shares = true_frontier()
    below = AXIS.value(truth - 0.01)
    print(f"truth: {truth:g} ({shares[truth]:.3f} of lineages survive there, {shares[below]:.3f} at {below:g})")
    num_sweeps = {name: int(arguments.sweeps if name == "ours" else arguments.peer_sweeps) for name in METHODS}
    with ProcessPoolExecutor(SHARDS) as pool:
        shards = pool.map(partial(run_shard, num_sweeps=num_sweeps), range(SHARDS))
        rows = [row for shard in shards for row in shard]
    results = pd.DataFrame(rows)
    results["covered"] = [covers(row, truth) for row in results.itertuples()]
    if arguments.csv:
        results.sort_values(["method", "sweep"]).to_csv(arguments.csv, index=False, float_format="%.4g")
    print(summary(results).to_string(float_format=lambda value: f"{value:.2f}"))


if __name__ == "__main__":
    main()
