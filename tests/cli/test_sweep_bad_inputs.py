"""Sweeps that cannot run: one clear message, exit code 2, nothing started and nothing half written."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from cli_command import Command
from sweep_command import without_ray

SWEEP = """
base:
  source: {kind: normal}
  family: gaussian
  evaluate: {metrics: [real_test_loss, variance_ratio], num_samples: 100}
axes:
  regime: [replace, {kind: mix, real_fraction: 0.5}]
depth: 4
run: {store: store}
"""

FRONTIER = """
base:
  source: {kind: normal}
  family: gaussian
  regime: mix
  evaluate: {metrics: [real_test_loss, variance_ratio], num_samples: 100}
axes:
  regime.real_fraction: {low: 0, high: 1}
depth: 4
search: {kind: frontier, axis: regime.real_fraction, precision: 0.1}
run: {store: store}
"""


class Case(NamedTuple):
    """Overrides of a sweep, and what the message must say: what was given, what is allowed, what to do."""

    overrides: list[str]
    says: list[str]
    sweep: str = "s.yaml"


def bad(*overrides: str, says: list[str]) -> Case:
    return Case([*overrides], says)


def bad_frontier(*overrides: str, says: list[str]) -> Case:
    return Case([*overrides], says, "f.yaml")


AXES = {
    "no-such-axis": bad(
        "axes={regime: [mix], regime.real_fracton: [0.1]}",
        says=["axes.regime.real_fracton: the kind 'mix' has no 'real_fracton'", "did you mean 'real_fraction'?"],
    ),
    "no-such-field": bad("axes={famly: [gaussian]}", says=["a lineage has no 'famly'", "did you mean 'family'?"]),
    "below-a-value": bad(
        "axes={holdout_fraction.x: [1]}", says=["holdout_fraction is a plain value", "end the path there"]
    ),
    "no-path": bad("axes={'Regime[]': [1]}", says=["axes.Regime[]: not a path", "e.g. regime.real_fraction"]),
    "empty": bad("axes={regime: []}", says=["axes.regime: has no values", "leave the axis out"]),
    "scalar": bad("axes={regime: mix}", says=["axes.regime: given", "a list or a mapping"]),
    "twice": bad("axes={regime: [mix], regime.real_fraction: [0, 0.5, 0.0]}", says=["0.0 is given twice", "keep one"]),
    "same-lineage": bad(
        "axes={regime: [replace, {kind: replace}]}",
        says=["the points replace and replace are the same lineage", "remove one"],
    ),
    "refused-value": bad(
        "axes={regime: [mix], regime.real_fraction: [0.5, 1.5]}",
        says=["lineage mix real_fraction=1.5", "regime.real_fraction: given 1.5", "at most 1"],
    ),
    "refused-combination": bad(
        "axes={regime: [replace, mix], regime.real_fraction: [0.5]}",
        says=["lineage replace real_fraction=0.5", "kind 'replace' has no such key", "num_samples"],
    ),
    "set-in-base": bad(
        "base.regime={kind: mix, real_fraction: 0.5}",
        "axes={regime.real_fraction: [0.1]}",
        says=["base.regime.real_fraction: is 0.5, and an axis sets the same field", "remove one"],
    ),
    "set-by-two-axes": bad(
        "axes={regime: [{kind: mix, real_fraction: 0.5}], regime.real_fraction: [0.1]}",
        says=["the axis regime sets it, too, in mix(real_fraction=0.5)", "remove one"],
    ),
    "depth-as-an-axis": bad("axes={depth: [2, 4]}", says=["measures every depth below its own", "the sweep's depth"]),
    "seed-as-an-axis": bad("axes={seed: [2, 4]}", says=["replicates are not an axis", "the sweep's seeds"]),
    "run-as-an-axis": bad("axes={run.workers: [0, 2]}", says=["changes none of their numbers"]),
    "range-turned-round": bad(
        "axes={holdout_fraction: {low: 0.5, high: 0.2}}", says=["low=0.5 is not below high=0.2", "give low < high"]
    ),
    "log-of-zero": bad(
        "axes={holdout_fraction: {low: 0, high: 0.2, log: true}}", says=["low=0.0 has no logarithm", "log: false"]
    ),
    "range-of-names": bad(
        "axes={regime: {low: 0, high: 1}}", says=["axes.regime: takes no numbers", "give a list of values"]
    ),
    "range-of-halves": bad(
        "axes={source.num_samples: {low: 10.5, high: 20}}",
        says=["axes.source.num_samples.low: given 10.5", "whole numbers only"],
    ),
    "range-in-a-grid": bad(
        "base.regime=mix",
        "axes={regime.real_fraction: {low: 0, high: 1}}",
        says=["a grid needs a list of values", "kind: frontier"],
    ),
}

BASE = {
    "no-base": bad("base=null", says=["base: given null", "a mapping"]),
    "base-file-missing": bad("base=gg.yaml", says=["gg.yaml does not exist", "choices: f.yaml, s.yaml"]),
    "incomplete": bad("axes={}", says=["s.yaml, base", "regime: missing", "give regime=…"]),
    "seed-in-base": bad("base.seed=3", says=["base.seed: belongs to the sweep", "move it up: seeds=…"]),
    "depth-in-base": bad("base.depth=3", says=["base.depth: belongs to the sweep", "depth=…"]),
    "unknown-key": bad("dept=3", says=["dept: unknown key", "did you mean 'depth'"]),
    "seeds-repeated": bad("seeds=[1, 1]", says=["seeds=[1, 1] repeats a seed"]),
    "data-too-small": bad(
        "base.source.num_samples=10",
        "axes={regime: [{kind: replace, num_samples: 9}]}",
        says=["lineage replace num_samples=9", "num_samples is 9", "at most 8"],
    ),
    "kinds-of-samples": bad(
        "base={family: gaussian, regime: replace}",
        "axes={source: [normal, digits]}",
        says=["lineage digits", "'gaussian' cannot model", "'image'"],
    ),
}

BUDGET = {
    "less-than-one-lineage": bad(
        "budget.generations=3", says=["budget.generations=3 cannot buy one lineage of depth=4", "at least 4"]
    ),
    "no-gpus-to-count": bad("budget.gpu_hours=2", says=["no GPU hour would ever be spent", "run.gpus_per_worker"]),
    "nobody-counts": bad(
        "budget.joules=1.0e+3", "run.meter.enabled=false", says=["nobody would count them", "switch the meter on"]
    ),
    "nothing": bad("budget.trials=0", says=["budget.trials: given 0", "at least 1"]),
    "more-than-the-machine": bad("run.workers=4000", says=["4000 CPUs", "this machine has", "lower run.workers"]),
    "no-gpu": bad("run.gpus_per_worker=1", says=["1 GPU and this machine has 0"]),
}

STOP = {
    "no-such-verdict": bad(
        "stop.verdicts=[lost_tails]", says=["'lost_tails' is no verdict of the profile", "did you mean 'lost_tail'"]
    ),
    "not-evaluated": bad(
        "stop.verdicts=[lost_modes]",
        says=["lost_modes can never end a lineage", "recall is not evaluated", "base.evaluate.metrics"],
    ),
    "without-an-error": bad(
        "stop.verdicts=[any_risk_increase]",
        "profile.verdicts=[{kind: any_risk_increase, vector: "
        "{metric: perplexity, worse: higher, scale: ratio, tolerance: 1, threshold: 1.5}}]",
        says=["perplexity has no standard error", "replicate_stddev in profile.verdicts", "there is none here"],
    ),
    "later-than-the-depth": bad(
        "stop={verdicts: [any_risk_increase], patience: 3}",
        says=["after generation 4 at the earliest", "depth=4", "a smaller stop.patience"],
    ),
    "contradicts-itself": bad(
        "stop={verdicts: [any_risk_increase, lost_modes], when: all}", says=["lost_modes can never end a lineage"]
    ),
    "twice": bad("stop.verdicts=[lost_tail, lost_tail]", says=["names one twice", "keep one of each"]),
    "other-status": bad("stop.at=healthy", says=["stop.at: given", "'collapsing' or 'collapsed'"]),
}

SEARCH = {
    "no-such-method": bad("search=bayes", says=["unknown kind 'bayes'", "frontier, grid, optuna, random"]),
    "no-range": bad(
        "search={kind: frontier, axis: regime.real_fraction, precision: 0.1}",
        says=["'regime.real_fraction' is no range among the axes", "give {low: …, high: …}"],
    ),
    "a-list-for-a-range": bad(
        "search={kind: frontier, axis: regime, precision: 0.1}", says=["regime is a list of values", "give a range"]
    ),
    "another-axis": bad_frontier(
        "search.axis=regime.fraction", says=["'regime.fraction' is no range", "did you mean 'regime.real_fraction'?"]
    ),
    "coarser-than-the-range": bad_frontier("search.precision=1.5", says=["precision=1.5 is known beforehand"]),
    "finer-than-a-step": bad_frontier(
        "axes={regime.real_fraction: {low: 0, high: 1, step: 0.2}}",
        says=["finer than fraction.step=0.2"],
    ),
    "several-seeds": bad_frontier("seeds=[0, 1]", says=["a seed of its own", "give one seed"]),
    "verdict-not-evaluated": bad_frontier(
        "search.verdict=lost_modes", says=["search.verdict=lost_modes: 'recall' is not evaluated"]
    ),
    "verdict-of-another-kind": bad_frontier(
        "search.verdict=diverging_risk", says=["not decided by the change since generation 1 alone"]
    ),
    "verdict-unknown": bad_frontier(
        "search.verdict=lost_tails", says=["is no verdict of the profile", "did you mean 'lost_tail'?"]
    ),
    "frontier-and-asha": bad_frontier("scheduler=asha", says=["says itself when a lineage has told enough"]),
    "metric-not-evaluated": bad(
        "search={kind: optuna, num_points: 3, metric: variance_rato}",
        says=["'variance_rato' is not evaluated", "did you mean 'variance_ratio'?"],
    ),
}

SCHEDULER = {
    "asha-too-shallow": bad(
        "scheduler={kind: asha, grace_period: 4}",
        says=["the first rung of bracket 1 is at generation 4", "give a depth above 4"],
    ),
    "median-too-shallow": bad(
        "scheduler={kind: median, grace_period: 4}",
        says=["leaves nothing to end in a depth of 4", "lower grace_period"],
    ),
    "metric-not-evaluated": bad(
        "scheduler={kind: asha, metric: fid}", says=["scheduler.metric: 'fid' is not evaluated"]
    ),
}

CASES = {
    f"{part}-{name}": case
    for part, cases in (
        ("axes", AXES),
        ("base", BASE),
        ("budget", BUDGET),
        ("stop", STOP),
        ("search", SEARCH),
        ("scheduler", SCHEDULER),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_sweep(case: Case, tmp_path: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    began = without_ray(monkeypatch)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    (tmp_path / "s.yaml").write_text(SWEEP)
    (tmp_path / "f.yaml").write_text(FRONTIER)
    outcome = collapse("sweep", case.sweep, *case.overrides)
    assert outcome.code == 2, outcome.out + outcome.err
    assert outcome.err.startswith("error: ")
    assert [words for words in case.says if words not in outcome.err] == [], outcome.err
    assert not began
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["depth=3"], "a sweep is one file, given: none"),
        (["s.yaml", "f.yaml"], "a sweep is one file, given: s.yaml, f.yaml"),
        (["t.yaml"], "t.yaml does not exist"),
    ],
)
def test_a_sweep_is_one_file(
    arguments: list[str], says: str, tmp_path: Path, collapse: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SWEEP)
    outcome = collapse("sweep", *arguments)
    assert outcome.code == 2
    assert says in outcome.err
