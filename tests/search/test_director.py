"""What a sweep's driver decides, with lineages that only report."""

import pickle
from collections.abc import Sequence

import pytest
from directed_sweeps import Sweep, grid, report

from collapse_ray.search.budget import SweepBudget
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.report import Judge, Report
from collapse_ray.search.stop import StopRule
from collapse_ray.search.trial import Trial

# The shared trunk ----------------------------------------------------------------------------------


def test_dependants_wait_for_generation_one_of_the_first() -> None:
    sweep = Sweep(grid(3, num_seeds=2))
    first, second = sweep.start(), sweep.start()
    assert [sweep.trial(key).seed for key in (first, second)] == [0, 1]
    assert sweep.director.propose(4) == "wait"
    sweep.director.take(second, report(1), held_s=1.0)
    dependants = [sweep.start(), sweep.start()]
    assert [sweep.trial(key) for key in dependants] == [Trial({"regime.real_fraction": x}, 1) for x in (0.1, 0.2)]
    assert sweep.director.propose(4) == "wait"
    sweep.director.take(first, report(1), held_s=1.0)
    started = [first, second, *dependants, sweep.start(), sweep.start()]
    assert sweep.director.propose(4) == "done"
    assert {sweep.trial(key).key for key in started} == {trial.key for trial in sweep.trials}
    assert len(sweep.prepared) == 6


def test_a_trunk_that_is_published_holds_nobody_back() -> None:
    sweep = Sweep(grid(3), published={"trunk-0"})
    assert len({sweep.start(), sweep.start(), sweep.start()}) == 3


def test_the_next_computes_the_trunk_where_the_first_failed() -> None:
    sweep = Sweep(grid(3))
    first = sweep.start()
    assert sweep.director.propose(4) == "wait"
    sweep.director.failed(first, "out of memory")
    sweep.start()
    assert sweep.director.propose(4) == "wait"


def test_no_more_lineages_are_proposed_ahead_than_asked() -> None:
    sweep = Sweep(grid(9))
    sweep.start()
    assert sweep.director.propose(2) == "wait"
    assert len(sweep.prepared) == 3


# Reports ---------------------------------------------------------------------------------------------


def test_a_generation_counts_once_however_often_it_is_reported() -> None:
    sweep = Sweep(grid(1))
    key = sweep.start()
    for generation in (1, 2, 2, 1, 2, 3, 3):
        sweep.director.take(key, report(generation, depth=4), held_s=10.0)
    assert sweep.director.spending.generations == 3
    assert sweep.director.spending.gpu_s == 3 * 10.0 * 2
    assert sweep.director.runs[key].event.generation == 3


def test_the_same_answer_is_given_to_the_same_report() -> None:
    sweep = Sweep(grid(1), SweepBudget(generations=2))
    key = sweep.start()
    assert sweep.director.take(key, report(1), held_s=1.0) is None
    answers = {sweep.director.take(key, report(2), held_s=1.0) for _ in range(3)}
    assert answers == {"budget.generations=2 is spent"}
    assert sweep.director.take(key, report(1), held_s=1.0) is None, "started again, it goes through what it reported"


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        (report(3, 3), "complete", None),
        (report(2, state="diverged", metrics={}), "diverged", None),
        (report(2, state="stopped", reason="catastrophic_risk collapsed"), "stopped", "catastrophic_risk collapsed"),
        (report(2), "stopped", "the scheduler asha"),
        (Report(1, "failed", reason="InvalidInput: no"), "failed", "InvalidInput: no"),
    ],
)
def test_how_a_lineage_ended(last: Report, state: str, reason: str | None) -> None:
    sweep = Sweep(grid(1))
    key = sweep.start()
    sweep.director.take(key, report(1), held_s=1.0)
    answer = sweep.director.take(key, last, held_s=1.0)
    assert (answer is None) == (last.state == "running")
    for _ in range(2):
        sweep.director.ended(key, last, "the scheduler asha")
    assert sweep.director.propose(1) == "done"
    (lineage,) = sweep.director.outcome.lineages
    assert (lineage.state, lineage.reason) == (state, reason)
    assert sum(event.state == state for event in sweep.events) == 1
    assert sweep.director.outcome.state == ("failed" if state == "failed" else "complete")


def test_verdicts_are_those_of_the_lineages_own_series() -> None:
    """Risk that doubles in every generation, with a known error: collapse is certain at generation 3."""
    stop = StopRule(verdicts=("catastrophic_risk",))
    sweep = Sweep(grid(1), judge=Judge(ProfileSpec(), stop, "vector"))
    key = sweep.start()
    for generation in range(1, 4):
        metrics = {"real_test_loss": 2.0**generation * 10, "real_test_loss_stderr": 0.001}
        sweep.director.take(key, report(generation, depth=9, metrics=metrics), held_s=1.0)
    assert sweep.events[-1].verdicts["catastrophic_risk"].status == "collapsed"
    assert sweep.events[-1].generation == 3


# The budget ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "energy_j", "over"),
    [
        (SweepBudget(generations=3), None, False),
        (SweepBudget(generations=2), None, True),
        (SweepBudget(gpu_hours=0.012), None, False),
        (SweepBudget(gpu_hours=0.011), None, True),  # 2 generations of 10 s on 2 GPUs are 40 / 3600 h
        (SweepBudget(joules=100.0), None, False),  # unknown joules are none that were spent
        (SweepBudget(joules=100.0), 99.0, False),
        (SweepBudget(joules=100.0), 100.0, True),
    ],
)
def test_a_budget_ends_the_sweep_after_a_generation(budget: SweepBudget, energy_j: float | None, over: bool) -> None:
    sweep = Sweep(grid(5), budget, published={"trunk-0"})
    first, second = sweep.start(), sweep.start()
    sweep.director.energy({}, energy_j)
    sweep.director.take(first, report(1), held_s=10.0)
    answer = sweep.director.take(second, report(1), held_s=10.0)
    assert (answer is not None) == over
    assert isinstance(sweep.director.propose(4), str) == over
    if over:
        sweep.director.ended(second, report(1), "the scheduler")
        sweep.director.take(first, report(2), held_s=10.0)
        sweep.director.ended(first, report(2), "the scheduler")
        assert sweep.director.outcome.state == "exhausted"
        assert [lineage.state for lineage in sweep.director.outcome.lineages] == ["stopped", "stopped"]


@pytest.mark.parametrize(("trials", "state"), [(2, "exhausted"), (3, "complete"), (4, "complete")])
def test_a_budget_of_lineages_lets_those_that_run_come_to_their_depth(trials: int, state: str) -> None:
    sweep = Sweep(grid(3), SweepBudget(trials=trials), published={"trunk-0"})
    while not isinstance(proposal := sweep.director.propose(4), str):
        sweep.run(proposal[0], depth=3)
    assert proposal == "done"
    assert sweep.director.outcome.state == state
    assert len(sweep.director.outcome.lineages) == min(trials, 3)


# Restarts --------------------------------------------------------------------------------------------


def restored(sweep: Sweep, trials: Sequence[Trial]) -> Sweep:
    again = Sweep(trials, sweep.budget, published={"trunk-0"})
    again.director.restore(pickle.loads(pickle.dumps(sweep.director.state())))
    return again


def test_a_sweep_goes_on_where_it_was() -> None:
    trials = grid(4)
    sweep = Sweep(trials, published={"trunk-0"})
    ended, running, lost = sweep.start(), sweep.start(), sweep.start()
    sweep.run(ended, depth=3)
    sweep.director.take(running, report(1), held_s=10.0)
    again = restored(sweep, trials)
    again.director.reconcile({ended, running})
    assert again.start() == lost, "it was proposed, and the executor does not know it"
    again.director.started(running)
    for key in (running, lost, again.start()):
        again.run(key, depth=3)
    assert again.director.propose(4) == "done"
    assert again.director.spending.generations == 4 * 3
    assert [lineage.state for lineage in again.director.outcome.lineages] == ["complete"] * 4
    assert len({lineage.trial.key for lineage in again.director.outcome.lineages}) == 4
