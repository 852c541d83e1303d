"""Estimates follow laws that are known, and their intervals hold what they promise."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_sweep import run_plain_sweep, sweep_of

from collapse_ray.artifact.record import ArtifactEnergy, Kind, Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import Payload
from collapse_ray.model.family import FamilySpec
from collapse_ray.search.plan.estimate import Estimate, rate_of, total
from collapse_ray.search.plan.model import Outline
from collapse_ray.search.plan.plan import make_plan
from collapse_ray.search.plan.spec_plan import SpecPlan
from collapse_ray.search.spec import Sweep

KINDS: tuple[Kind, ...] = ("samples", "model", "evaluation")
S_PER_ROW, S_PER_SAMPLE, S_EVALUATION = 2.0, 0.5, 3.0
ROWS = 20
"""Of 25, a fifth is held out."""


def law(record: Record) -> float:
    if record.kind == "model":
        return S_PER_ROW * record.realised["num_rows"]
    return S_EVALUATION if record.kind == "evaluation" else S_PER_SAMPLE * record.realised["num_samples"]


def records(folder: Path) -> dict[tuple[Kind, str], Record]:
    store = Store(str(folder / "store"))
    return {(kind, of): store.record(kind, of) for kind in KINDS for of in store.fingerprints(kind)}


def impose(folder: Path, seconds: Callable[[Record], float], quality: str | None = "counter") -> None:
    """Makes the records of a store say what a law says, and ten times as many joules."""
    for (kind, of), record in records(folder).items():
        told = replace(record, duration_s=seconds(record))
        (folder / "store" / "artifacts" / kind / of / "record.json").write_text(told.to_json())
        if quality is not None:
            energy = ArtifactEnergy(10 * seconds(record), quality)
            Store(str(folder / "store")).write_energy(kind, of, energy)


def planned(sweep: Sweep) -> SpecPlan:
    (plan,) = make_plan([sweep]).specs
    return plan


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def test_at_the_rate_of_the_records(tmp_path: Path) -> None:
    """Depth 2 ran; generations 3, 4, 5 are left, of pools that stay (replace) or grow (accumulate)."""
    run_plain_sweep(sweep_of(tmp_path, depth=2))
    impose(tmp_path, law)
    plan = planned(sweep_of(tmp_path, depth=5))
    rows = 3 * ROWS + (3 + 4 + 5) * ROWS
    seconds = rows * S_PER_ROW + 2 * 3 * ROWS * S_PER_SAMPLE + 2 * 3 * S_EVALUATION
    for estimate, truth in ((plan.cost.duration_s, seconds), (plan.cost.energy_j, 10 * seconds)):
        assert known(estimate).basis == "records"
        assert known(estimate).value == pytest.approx(truth)
        assert known(estimate).low <= truth * (1 + 1e-9)
        assert known(estimate).high >= truth * (1 - 1e-9)
    assert known(plan.cost.gpu_hours) == Estimate(0, 0, 0, "records")
    # Two lineages, side by side where two fit; accumulate is the longer one.
    longest = (3 + 4 + 5) * ROWS * S_PER_ROW + 3 * ROWS * S_PER_SAMPLE + 3 * S_EVALUATION
    one_by_one = planned(sweep_of(tmp_path, depth=5, max_concurrent=1))
    assert known(one_by_one.elapsed_s).value == pytest.approx(seconds)
    together = known(plan.elapsed_s).value
    assert together == pytest.approx(longest if plan.resources.at_once > 1 else seconds)


def test_the_interval_holds_the_rate_of_another_stage_as_often_as_it_says() -> None:
    """Log-normal rates that differ by a quarter; 4,000 intervals from 5 records each. Binomial error 0.5 %."""
    rng = np.random.default_rng(0)
    rates = np.exp(0.25 * rng.standard_normal((4000, 6)))
    intervals = [rate_of([(float(rate), 1.0) for rate in row[:5]]) for row in rates]
    held = [each.low <= row[5] <= each.high for each, row in zip(intervals, rates, strict=True)]
    assert 0.88 < np.mean(held) < 0.92


def test_few_records_and_those_that_cost_nothing() -> None:
    assert rate_of([(6.0, 2.0)]) == Estimate(3.0, 1.5, 6.0, "records")
    assert rate_of([(6.0, 2.0), (1.0, 1.0)]) == Estimate(7 / 3, 0.5, 6.0, "records")
    assert rate_of([(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]) == Estimate(1.0, 0.0, 4.0, "records")
    # t with 4 degrees of freedom leaves 5 % above 2.132; the logarithms are -2 to 2 times log 2, of variance 2.5.
    estimate = rate_of([(1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 1.0), (16.0, 1.0)])
    assert estimate.high / estimate.value == pytest.approx(2 ** (2.1318468 * math.sqrt(2.5) * math.sqrt(6 / 5)))
    assert estimate.value / estimate.low == pytest.approx(estimate.high / estimate.value)


def test_a_sum_is_as_firm_as_its_weakest_part() -> None:
    parts = [Estimate(1, 0.5, 2, "records"), Estimate(3, 1, 9, "model")]
    assert total(parts) == Estimate(4, 1.5, 11, "model")
    assert total([*parts, None]) is None
    assert total([]) == Estimate(0, 0, 0, "records")


@pytest.mark.slow
def test_records_of_other_settings_are_scaled_and_trusted_less(tmp_path: Path) -> None:
    """Twice the width is four times the weights of the hidden layer: seconds per row and byte carry over."""

    def vae(hidden: int) -> dict[str, Any]:
        return {
            "source": {"kind": "normal", "num_samples": 25, "dimension": 2},
            "family": {"kind": "vae", "latent_size": 1, "hidden": [hidden, hidden]},
            "train": {"steps": 2, "batch_size": 8, "precision": "fp32"},
            "evaluate": {"metrics": ["real_test_loss"], "num_samples": 16},
        }

    def per_byte(record: Record) -> float:
        return 1e-3 * sum(entry.num_bytes for entry in record.files) if record.kind == "model" else 1.0

    run_plain_sweep(sweep_of(tmp_path, depth=2, base=vae(64)))
    impose(tmp_path, per_byte)
    wider = sweep_of(tmp_path, depth=1, base=vae(128))
    row = next(row for row in planned(wider).rows if row.stage == "train")
    estimate = known(row.cost.duration_s)
    assert estimate.basis == "similar records"
    run_plain_sweep(wider)
    truth = max(per_byte(record) for record in records(tmp_path).values() if record.kind == "model")
    assert estimate.value == pytest.approx(truth, rel=0.05)
    assert estimate.low <= truth / 3.5
    assert estimate.high >= truth * 3.5


def test_another_number_of_workers_is_another_setting(tmp_path: Path) -> None:
    run_plain_sweep(sweep_of(tmp_path, depth=2))
    impose(tmp_path, law)
    plan = planned(sweep_of(tmp_path, "run.workers=2", depth=3))
    assert known(plan.cost.duration_s).basis == "similar records"


def test_what_nobody_metered_rests_on_stated_watts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 4 CPUs, of 100 W together: 25 W, from a fifth of it to half as much again."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    run_plain_sweep(sweep_of(tmp_path, depth=2))
    for quality in (None, "unmeasured"):
        impose(tmp_path, law, quality)
        cost = planned(sweep_of(tmp_path, "run.meter.tdp_w=100", depth=3)).cost
        seconds, joules = known(cost.duration_s), known(cost.energy_j)
        assert (seconds.basis, joules.basis) == ("records", "model")
        assert joules.value == pytest.approx(25 * seconds.value)
        assert joules.low == pytest.approx(5 * seconds.low)
        assert joules.high == pytest.approx(37.5 * seconds.high)


def bytes_of(folder: Path) -> dict[str, int]:
    """Of every artifact, as its files are on the disk."""
    found = [path for path in (folder / "store" / "artifacts").glob("*/*") if path.is_dir()]
    return {path.name: sum(file.stat().st_size for file in path.iterdir()) for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("depth_before", [None, 2], ids=["from-the-model", "from-records"])
def test_bytes_on_the_disk(tmp_path: Path, depth_before: int | None) -> None:
    if depth_before is not None:
        run_plain_sweep(sweep_of(tmp_path, depth=depth_before))
    before = bytes_of(tmp_path)
    estimate = known(planned(sweep_of(tmp_path, depth=6)).cost.num_bytes)
    assert estimate.basis == ("model" if depth_before is None else "records")
    run_plain_sweep(sweep_of(tmp_path, depth=6))
    truth = sum(size for name, size in bytes_of(tmp_path).items() if name not in before)
    assert estimate.low <= truth <= estimate.high
    if depth_before is not None:
        assert estimate.value == pytest.approx(truth, rel=0.1)


PAYLOADS = {
    "image": Payload("image", (1, 8, 8)),
    "vector": Payload("vector", (3,)),
    "tokens": Payload("tokens", (16,), 32),
}


@pytest.mark.parametrize("kind", FamilySpec.kinds())
def test_every_family_has_an_outline_of_its_true_size(kind: str) -> None:
    spec = FamilySpec.resolve(kind)
    payload = PAYLOADS[{"transformer": "tokens", "gaussian": "vector"}.get(kind, "image")]
    assert all(tensor.is_meta for tensor in spec.outline(payload).parameters())
    with torch.random.fork_rng():
        files = spec.build(payload).to_files()
    assert Outline.of(spec, payload).num_bytes == pytest.approx(len(files["model.safetensors"]), rel=0.1, abs=1000)


def test_a_checkpoint_has_an_outline_without_its_weights(tmp_path: Path) -> None:
    built = FamilySpec.resolve({"kind": "transformer", "num_layers": 1}).build(PAYLOADS["tokens"])
    for name, content in built.to_files().items():
        (tmp_path / name).write_bytes(content)
    outline = FamilySpec.resolve({"kind": "transformer", "checkpoint": str(tmp_path)}).outline(PAYLOADS["tokens"])
    assert sum(each.numel() for each in outline.parameters()) == sum(each.numel() for each in built.parameters())
    assert all(each.is_meta for each in outline.parameters())
