"""What a driver tells Prometheus of all its lineages."""

from pathlib import Path

import pytest
from plain_sweep import sweep_of
from recorded_metrics import Values, record

from collapse_ray.artifact.store import Store
from collapse_ray.lineage import kept_gauge
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.monitoring.metrics import BUDGET, COLLAPSED, LINEAGES, VERDICTS
from collapse_ray.search.events import State, SweepEvent
from collapse_ray.search.gauges import RunGauges, SweepGauges
from collapse_ray.search.verdict import Status, Verdict
from collapse_ray.train.execution import RunConfig


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Values]:
    return record(monkeypatch, kept_gauge)


def above_0(values: Values) -> Values:
    return {labels: value for labels, value in values.items() if value}


def test_counts_the_lineages_of_a_sweep(told: dict[str, Values], tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "budget.joules=500")
    gauges = SweepGauges(sweep)
    one, other = sweep.trials()

    def tell(trial: int, state: State, status: Status | None = None, generation: int = 0) -> None:
        verdicts = {} if status is None else {"lost_tail": Verdict("lost_tail", 7, status, "", generation=2)}
        gauges(SweepEvent((one, other)[trial], state, f"l{trial}", generation, verdicts=verdicts))

    tell(0, "waiting")
    tell(1, "waiting")
    assert above_0(told[LINEAGES.name]) == {(sweep.id, "waiting"): 2}
    assert told[BUDGET.name] == {(sweep.id,): 500}
    tell(0, "running", "undecided", 1)
    tell(1, "running", "healthy", 1)
    tell(0, "running", "collapsed", 3)
    tell(0, "running", "collapsed", 4)
    assert above_0(told[LINEAGES.name]) == {(sweep.id, "running"): 2}
    assert told[VERDICTS.name] == {
        (sweep.id, "lost_tail", "undecided"): 0,
        (sweep.id, "lost_tail", "healthy"): 1,
        (sweep.id, "lost_tail", "collapsed"): 1,
    }
    assert told[COLLAPSED.name] == {(sweep.id, "l0", "lost_tail"): 2}
    tell(0, "stopped", "collapsed", 4)
    tell(1, "diverged", "healthy", 5)
    assert above_0(told[LINEAGES.name]) == {(sweep.id, "stopped"): 1, (sweep.id, "diverged"): 1}
    assert told[COLLAPSED.name] == {(sweep.id, "l0", "lost_tail"): 2, (sweep.id, "l1", "diverged"): 5}


def test_a_sweep_without_a_budget_shows_none(told: dict[str, Values], tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    SweepGauges(sweep)(SweepEvent(sweep.trials()[0], "waiting"))
    assert told[BUDGET.name] == {}


@pytest.mark.slow
def test_judges_the_lineages_of_a_run(told: dict[str, Values], tmp_path: Path) -> None:
    """Gaussians that learn from 8 samples of each other alone collapse; with all that came before they do not."""
    lineages = tuple(
        LineageSpec.model_validate(
            {
                "source": {"kind": "normal", "num_samples": 10, "replicas": 200},
                "family": "gaussian",
                "regime": regime,
                "depth": 12,
                "seed": seed,
                "evaluate": {"metrics": ("real_test_loss", "variance_ratio"), "num_samples": 0},
            }
        )
        for seed, regime in enumerate(["replace", "accumulate"])
    )
    store, execution = Store(str(tmp_path)), RunConfig(store=str(tmp_path))
    tasks = check_all([Experiment("few", lineages, execution)], store)
    gauges, seen, states = RunGauges(tasks), dict[int, str](), list[Values]()

    def listen(event: StageEvent) -> None:
        gauges(event)
        seen[event.seed] = event.id
        states.append(above_0(told[LINEAGES.name]))

    run_plain(tasks, execution, listen)
    assert states[0] == {("few", "running"): 1, ("few", "waiting"): 1}
    assert states[-1] == {("few", "complete"): 2}
    collapsed = {(lineage, verdict) for _, lineage, verdict in told[COLLAPSED.name]}
    assert (seen[0], "catastrophic_risk") in collapsed
    assert (seen[1], "catastrophic_risk") not in collapsed
    assert all(
        sum(n for (_, kind, _), n in told[VERDICTS.name].items() if kind == verdict) == 2 for verdict in kinds(told)
    )


def kinds(told: dict[str, Values]) -> set[str]:
    return {kind for _, kind, _ in told[VERDICTS.name]}
