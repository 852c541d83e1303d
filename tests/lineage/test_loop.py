"""The loop's order against a recording fake of the stages; regimes, divergence and stopping with real lineages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_lineages import Ran, gaussian, run
from safetensors.numpy import load

from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.data.regime import PoolPlan
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import shard_layout
from collapse_ray.lineage.index import read_indices
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.loop import Decide, Progress, run_lineage
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment
from collapse_ray.train.execution import RunConfig

NUM_REAL = 40

# The order of the stages --------------------------------------------------------------------------


def samples(name: str, num_samples: int = NUM_REAL) -> SampleSet:
    return SampleSet(name, shard_layout(num_samples, 16), Payload("vector", (2,)))


def record(name: str, outcome: str = "complete") -> Record:
    return Record("model", name, identity={}, parents={}, files=(), duration_s=0.0, outcome=outcome)


class Recorded:
    """Stages that write down what is asked of them; generation `diverges` diverges."""

    def __init__(self, diverges: int | None = None) -> None:
        self.diverges = diverges
        self.calls: list[tuple[Any, ...]] = []

    def train(self, generation: int, plan: PoolPlan, samples: dict[int, SampleSet], previous: Record | None) -> Record:
        of = [samples[part.generation].fingerprint for part in plan.parts]
        self.calls.append(("train", generation, of, previous and previous.fingerprint))
        return record(f"model-{generation}", "diverged" if generation == self.diverges else "complete")

    def evaluate(self, generation: int, model: Record) -> Record:
        self.calls.append(("evaluate", generation, model.fingerprint))
        return record(f"evaluation-{generation}")

    def generate(self, generation: int, model: Record, num_samples: int) -> SampleSet:
        self.calls.append(("generate", generation, model.fingerprint, num_samples))
        return samples(f"samples-{generation}", num_samples)

    def finish_generation(self, progress: Progress) -> None:
        self.calls.append(("finish", progress.generation, progress.verdict))


def recorded(diverges: int | None = None, **fields: Any) -> tuple[list[tuple[Any, ...]], Progress]:
    stages = Recorded(diverges)
    return stages.calls, run_lineage(gaussian(**fields), Prepared(samples("real"), samples("holdout", 10)), stages)


def test_a_generation_is_trained_evaluated_finished_and_then_sampled() -> None:
    calls, progress = recorded(depth=3)
    assert calls == [
        ("train", 1, ["real"], None),
        ("evaluate", 1, "model-1"),
        ("finish", 1, "running"),
        ("generate", 1, "model-1", NUM_REAL),
        ("train", 2, ["samples-1"], "model-1"),
        ("evaluate", 2, "model-2"),
        ("finish", 2, "running"),
        ("generate", 2, "model-2", NUM_REAL),
        ("train", 3, ["samples-2"], "model-2"),
        ("evaluate", 3, "model-3"),
        ("finish", 3, "complete"),
    ]
    assert progress.verdict == "complete"


def test_what_has_diverged_is_neither_evaluated_nor_sampled() -> None:
    calls, progress = recorded(diverges=2, depth=4)
    assert calls[4:] == [("train", 2, ["samples-1"], "model-1"), ("finish", 2, "diverged")]
    assert (progress.verdict, len(progress.models), len(progress.evaluations)) == ("diverged", 2, 1)


def test_the_first_generation_may_diverge() -> None:
    calls, progress = recorded(diverges=1)
    assert [call[0] for call in calls] == ["train", "finish"]
    assert progress.verdict == "diverged"


def test_nothing_is_sampled_that_no_pool_asks_for() -> None:
    calls, _ = recorded(regime={"kind": "mix", "real_fraction": 1.0}, depth=3)
    assert "generate" not in {call[0] for call in calls}


def test_every_earlier_generation_can_be_trained_on() -> None:
    calls, _ = recorded(regime="accumulate", depth=3)
    assert [call[2] for call in calls if call[0] == "train"] == [
        ["real"],
        ["real", "samples-1"],
        ["real", "samples-1", "samples-2"],
    ]


# Regimes ------------------------------------------------------------------------------------------

REAL_FRACTIONS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "replace": ({}, [1, 0, 0]),
    "accumulate": ({}, [1, 1 / 2, 1 / 3]),
    "accumulate_subsample": ({"num_samples": 20}, [1]),  # then a draw: 1/2 and 1/3 in expectation only
    "augment_latest": ({"num_real": 10, "num_synthetic": 30}, [1, 1 / 4, 1 / 4]),
    "fresh": ({"num_real": 10, "num_synthetic": 5}, [1, 2 / 3, 2 / 3]),
    "mix": ({"real_fraction": 0.3}, [1, 0.3, 0.3]),
    "single_shot": ({"real_fraction": 0.5}, [1, 0.5]),
}


@pytest.mark.parametrize("kind", REAL_FRACTIONS)
def test_the_realised_real_fraction_is_that_of_the_rows_trained_on(kind: str, tmp_path: Path) -> None:
    fields, expected = REAL_FRACTIONS[kind]
    depth = 2 if kind == "single_shot" else 3
    models = run(tmp_path, gaussian(regime={"kind": kind, **fields}, depth=depth)).progress.models
    assert len(models) == depth
    realised = [model.realised for model in models]
    assert [each["realised_real_fraction"] for each in realised][: len(expected)] == pytest.approx(expected)
    for each in realised:
        # Counted from the origin column of the rows that were read, not from the plan.
        assert each["num_real_seen"] + each["num_synthetic_seen"] == each["num_rows"]
        assert each["num_real_seen"] / each["num_rows"] == each["realised_real_fraction"]
    asked = [each["asked_real_fraction"] for each in realised]
    assert asked == [None, *[fields.get("real_fraction")] * (depth - 1)]


# Families that are trained with gradients ---------------------------------------------------------

VAE = {
    "source": {"kind": "normal", "num_samples": 50, "dimension": 2},
    "family": {"kind": "vae", "latent_size": 2, "hidden": [4]},
    "depth": 2,
}


def test_a_generation_may_start_from_the_one_before(tmp_path: Path) -> None:
    """With steps too small to be seen, `previous` keeps the weights, and `scratch` draws new ones."""
    weights: dict[str, list[dict[str, np.ndarray]]] = {}
    parents = {}
    for init in ("previous", "scratch"):
        train = {"steps": 2, "batch_size": 8, "precision": "fp32", "init": init, "optimizer": {"lr": 1e-30}}
        models = run(tmp_path, gaussian(**VAE, train=train)).progress.models
        paths = [tmp_path / "artifacts" / "model" / model.fingerprint / "model.safetensors" for model in models]
        weights[init] = [load(path.read_bytes()) for path in paths]
        parents[init] = [set(model.parents) for model in models]
    assert parents == {
        "previous": [{"samples-0"}, {"samples-1", "previous"}],
        "scratch": [{"samples-0"}, {"samples-1"}],
    }
    assert moved(*weights["previous"]) < 1e-20
    assert moved(*weights["scratch"]) > 0.1


def moved(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def test_a_diverged_generation_ends_the_lineage_for_good(tmp_path: Path) -> None:
    train = {"steps": 4, "batch_size": 8, "precision": "fp32", "clip_norm": None, "optimizer": {"lr": 1e30}}
    lineage = gaussian(**VAE, train=train)
    ran = run(tmp_path, lineage)
    assert ran.computed == [("train", 1)]
    assert ran.progress.verdict == "diverged"
    (model,) = ran.progress.models
    assert (model.outcome, model.files, model.metrics) == ("diverged", (), {"train_loss": None})
    assert run(tmp_path, lineage).computed == []


# A stop rule ---------------------------------------------------------------------------------------


def stop_after(generation: int) -> Decide:
    return lambda progress: "enough" if progress.generation >= generation else None


def run_stopped(store: Path, depth: int, decide: Decide) -> Ran:
    run_config, events = RunConfig(store=str(store)), list[StageEvent]()
    (task,) = check_all([Experiment("test", (gaussian(depth=depth),), run_config)], Store(str(store)))
    (progress,) = run_plain([replace(task, decide=decide)], run_config, events.append)
    return Ran(progress, events)


def test_a_stopped_generation_is_evaluated_and_never_sampled(tmp_path: Path) -> None:
    ran = run_stopped(tmp_path, 5, stop_after(2))
    assert ran.computed[-2:] == [("train", 2), ("evaluate", 2)]
    (index,) = read_indices(Store(str(tmp_path)))
    assert (index["verdict"], index["stopped_by"]) == ("stopped", "enough")


def test_without_the_rule_a_stopped_lineage_goes_on(tmp_path: Path) -> None:
    run_stopped(tmp_path, 3, stop_after(1))
    ran = run(tmp_path, gaussian(depth=3))
    assert ran.computed == [
        ("generate", 1),
        ("train", 2),
        ("evaluate", 2),
        ("generate", 2),
        ("train", 3),
        ("evaluate", 3),
    ]
    assert ran.progress.verdict == "complete"


def test_the_last_generation_is_complete_whatever_the_rule_says(tmp_path: Path) -> None:
    ran = run_stopped(tmp_path, 2, stop_after(2))
    assert (ran.progress.verdict, ran.progress.stopped_by) == ("complete", "enough")
