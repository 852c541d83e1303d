"""What lineages tell Prometheus, compared with what they published."""

import gc
import time
from pathlib import Path

import pytest
from recorded_metrics import Values, record

from collapse_ray.artifact.record import ArtifactEnergy
from collapse_ray.artifact.store import Store
from collapse_ray.lineage import gauges as module
from collapse_ray.lineage import kept_gauge
from collapse_ray.lineage.gauges import LineageGauges
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.monitoring import metrics as names
from collapse_ray.train.execution import RunConfig

NORMAL = {
    "source": {"kind": "normal", "num_samples": 50},
    "family": "gaussian",
    "regime": {"kind": "mix", "real_fraction": 0.25},
    "depth": 2,
    "holdout_fraction": 0.2,
    "evaluate": {"metrics": ("real_test_loss", "variance_ratio"), "num_samples": 16},
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Values]:
    return record(monkeypatch, module, kept_gauge)


def run(folder: Path, **keys: object) -> tuple[Progress, str]:
    """A lineage in this process, and what results call it."""
    store, ids = Store(str(folder)), set[str]()
    gauges = LineageGauges(store)

    def listen(event: StageEvent) -> None:
        ids.add(event.id)
        gauges(event)

    execution = RunConfig(store=store.uri, window_steps=5)
    lineage = LineageSpec.model_validate({**NORMAL, **keys})
    (progress,) = run_plain(check_all([Experiment("normal", (lineage,), execution)], store), execution, listen)
    (of,) = ids
    return progress, of


def test_shows_the_latest_generation(told: dict[str, Values], tmp_path: Path) -> None:
    progress, of = run(tmp_path)
    evaluated = progress.evaluations[-1].metrics
    assert told[names.GENERATION.name] == {(of,): 2}
    assert told[names.REAL_FRACTION.name] == {(of,): 0.25}
    assert told[names.VALUE.name] == {(of, name): evaluated[name] for name in ("real_test_loss", "variance_ratio")}
    assert told[names.TRAIN_LOSS.name] == {}, "closed forms have none"
    # 40 rows in each pool, 10 held out, 30 samples for the second pool.
    assert told[names.SAMPLES.name] == {("train",): 80, ("evaluate",): 20, ("generate",): 30}
    assert told[names.TOKENS.name] == told[names.TRAIN_SECONDS.name] == told[names.REUSED.name] == {}


@pytest.mark.slow
def test_counts_steps_tokens_and_waiting(told: dict[str, Values], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("models of models forget. " * 40)
    began_s = time.perf_counter()
    progress, of = run(
        tmp_path / "store",
        source={"kind": "text", "path": str(tmp_path / "words.txt"), "context": 16},
        family={"kind": "transformer", "num_layers": 1, "num_heads": 1, "hidden_size": 8},
        regime="replace",
        depth=1,
        train={"steps": 12, "batch_size": 4},
        evaluate={"metrics": ("real_test_loss",), "num_samples": 0},
    )
    assert told[names.SAMPLES.name][("train",)] == 12 * 4
    assert told[names.TOKENS.name][("train",)] == 12 * 4 * 16
    assert told[names.TRAIN_LOSS.name] == {(of,): progress.models[0].metrics["train_loss"]}
    (train_s,), (wait_s,) = told[names.TRAIN_SECONDS.name].values(), told[names.DATA_WAIT_SECONDS.name].values()
    assert 0 < wait_s < train_s < time.perf_counter() - began_s


def test_tells_what_reuse_saved(told: dict[str, Values], tmp_path: Path) -> None:
    progress, of = run(tmp_path)
    store = Store(str(tmp_path))
    for record_, energy_j in zip(progress.models, (3.0, None), strict=True):
        store.write_energy(
            "model", record_.fingerprint, ArtifactEnergy(energy_j, "counter" if energy_j else "unmeasured")
        )
    told.clear()
    assert run(tmp_path)[1] == of
    assert told[names.REUSED.name] == {("train",): 2, ("evaluate",): 2, ("generate",): 1}
    assert told[names.GENERATION.name] == {(of,): 2}, "a lineage that was found is shown, too"
    assert told[names.SAMPLES.name] == {}
    until_s = time.monotonic() + 10
    while not told[names.SAVED.name] and time.monotonic() < until_s:
        time.sleep(0.01)
    assert told[names.SAVED.name] == {("train",): 3.0}


def test_an_earlier_generation_that_is_computed_again_is_not_shown(told: dict[str, Values], tmp_path: Path) -> None:
    progress, of = run(tmp_path)
    gauges = LineageGauges(Store(str(tmp_path)))
    for generation in (2, 1):
        gauges(StageEvent("normal", of, 0, generation, "evaluate", record=progress.evaluations[generation - 1]))
    assert told[names.GENERATION.name] == {(of,): 2}


def test_a_process_shows_no_more_than_so_many_lineages(
    told: dict[str, Values], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, _ = run(tmp_path)
    told.clear()
    monkeypatch.setattr(module, "MAX_LINEAGES", 2)
    gauges = LineageGauges(Store(str(tmp_path)))
    for lineage in ("a", "b", "c", "a"):
        gauges(StageEvent("normal", lineage, 0, 1, "evaluate", reused=True, record=progress.evaluations[0]))
    assert set(told[names.GENERATION.name]) == {("a",), ("b",)}
    assert told[names.REUSED.name] == {("evaluate",): 4}


@pytest.mark.slow
def test_gauges_are_set_again_as_long_as_they_are_kept(
    told: dict[str, Values], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray forgets what was not set for twenty seconds."""
    monkeypatch.setattr(kept_gauge, "REPEAT_S", 0.01)
    repeater = kept_gauge._Repeater()
    monkeypatch.setattr(kept_gauge, "_repeater", repeater)
    gauge = kept_gauge.KeptGauge(names.GENERATION)
    gauge.set(3, {"lineage": "a"})
    values = told[names.GENERATION.name]
    for _ in range(2):
        values.clear()
        until_s = time.monotonic() + 10
        while not values and time.monotonic() < until_s:
            time.sleep(0.01)
        assert values == {("a",): 3}
    del gauge
    gc.collect()
    time.sleep(0.1)
    values.clear()
    time.sleep(0.1)
    assert values == {}
    repeater.end()
