"""What a sweep cost and saved, where every joule follows a law that is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plain_sweep import run_plain_sweep, sweep_of

from collapse_ray.artifact.record import ArtifactEnergy, Record
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import id_of, read_indices
from collapse_ray.search.accounting import Amount, SweepCost, sweep_cost

J_PER_ROW, J_PER_SAMPLE, J_EVALUATION = 2.0, 0.5, 3.0
DEPTH = 5
ROWS = 20
"""Of 25, a fifth is held out."""


def law(record: Record) -> float | None:
    if record.kind == "model":
        return J_PER_ROW * record.realised["num_rows"]
    if record.kind == "evaluation":
        return J_EVALUATION
    return J_PER_SAMPLE * record.realised["num_samples"] if record.identity["stage"] == "generate" else None


def metered(folder: Path, cost: Callable[[Record], float | None], **keys: Any) -> tuple[Store, list[dict[str, Any]]]:
    """A sweep that ran to depth 2, with a cost beside each record."""
    sweep = sweep_of(folder, depth=2, **keys)
    run_plain_sweep(sweep)
    store = Store(sweep.run.store)
    indices = read_indices(store)
    for kind in ("model", "evaluation", "samples"):
        for path in (folder / "store" / "artifacts" / kind).iterdir():
            energy_j = cost(store.record(kind, path.name))
            if energy_j is not None:
                store.write_energy(kind, path.name, ArtifactEnergy(energy_j, "counter"))
    return store, indices


def cost_of(store: Store, indices: list[dict[str, Any]], stopped: str) -> SweepCost:
    chosen = [index for index in indices if index["regime"] == stopped]
    return sweep_cost(store, indices, [id_of(index) for index in chosen], DEPTH)


@pytest.mark.parametrize(
    ("regime", "rows", "samples"),
    [
        # Generations 3, 4, 5 train on 20 rows each; 2, 3, 4 make 20 samples each.
        ("replace", 3 * ROWS, 3 * ROWS),
        # The pool grows: 3, 4 and 5 times 20 rows.
        ("accumulate", (3 + 4 + 5) * ROWS, 3 * ROWS),
    ],
)
def test_what_a_stopped_lineage_saved_follows_the_regime(tmp_path: Path, regime: str, rows: int, samples: int) -> None:
    store, indices = metered(tmp_path, law)
    (stopped,) = cost_of(store, indices, regime).stopped
    assert stopped.saved.energy_j == pytest.approx(rows * J_PER_ROW + samples * J_PER_SAMPLE + 3 * J_EVALUATION)
    # Two generations were trained, two evaluated, and the first was sampled.
    spent = (3 if regime == "accumulate" else 2) * ROWS * J_PER_ROW + ROWS * J_PER_SAMPLE + 2 * J_EVALUATION
    assert stopped.spent.energy_j == pytest.approx(spent)
    whole = spent + rows * J_PER_ROW + samples * J_PER_SAMPLE + 3 * J_EVALUATION
    assert stopped.to_depth.energy_j == pytest.approx(whole)
    assert stopped.generation == 2


def test_the_steps_of_training_count_where_there_are_any(tmp_path: Path) -> None:
    """With a fixed number of steps a larger pool costs no more."""
    train = {"steps": 2, "batch_size": 8, "precision": "fp32"}
    base = {
        "source": {"kind": "normal", "num_samples": 25, "dimension": 2},
        "family": {"kind": "vae", "latent_size": 1, "hidden": [4]},
        "train": train,
        "evaluate": {"metrics": ["real_test_loss"], "num_samples": 16},
    }
    store, indices = metered(tmp_path, lambda record: 7.0 if record.kind == "model" else 0.0, base=base)
    (stopped,) = cost_of(store, indices, "accumulate").stopped
    assert stopped.saved.energy_j == pytest.approx(3 * 7.0)


def test_artifacts_that_lineages_share_cost_once(tmp_path: Path) -> None:
    store, indices = metered(tmp_path, law)
    cost = cost_of(store, indices, "replace")
    # Both regimes have generation 1 with its evaluation and samples, and the real data, in common.
    assert cost.num_shared == 5
    shared = ROWS * J_PER_ROW + J_EVALUATION + ROWS * J_PER_SAMPLE
    assert cost.saved_by_sharing.energy_j == pytest.approx(shared)
    own = [sum(law(store.record(*artifact)) or 0 for artifact in _models_and_evaluations(index)) for index in indices]
    assert cost.spent.energy_j == pytest.approx(sum(own) + 2 * ROWS * J_PER_SAMPLE - shared)
    assert cost.num_unmeasured == 2


def _models_and_evaluations(index: dict[str, Any]) -> list[Any]:
    return [(kind, generation[kind]) for generation in index["generations"] for kind in ("model", "evaluation")]


def test_what_was_never_measured_is_not_zero(tmp_path: Path) -> None:
    store, indices = metered(tmp_path, lambda record: None)
    cost = cost_of(store, indices, "replace")
    assert cost.spent.energy_j is cost.saved_by_sharing.energy_j is cost.saved_by_stopping.energy_j is None
    assert cost.spent.duration_s is not None
    assert cost.stopped[0].saved.duration_s is not None


def test_a_stage_without_joules_leaves_the_saving_open(tmp_path: Path) -> None:
    store, indices = metered(tmp_path, lambda record: law(record) if record.kind == "model" else None)
    (stopped,) = cost_of(store, indices, "replace").stopped
    assert stopped.saved.energy_j is None
    assert stopped.to_depth.energy_j is None
    assert stopped.spent.energy_j == pytest.approx(2 * ROWS * J_PER_ROW)
    assert stopped.num_unmeasured == 5


def test_lineages_that_reached_the_depth_saved_nothing(tmp_path: Path) -> None:
    store, indices = metered(tmp_path, law)
    cost = sweep_cost(store, indices, [id_of(index) for index in indices], depth=2)
    assert cost.stopped == ()
    assert cost.saved_by_stopping == Amount(None, None)
