"""What a sweep's driver decides, with lineages that only report, and what Tune is given, with fakes of its trials."""

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from collapse_ray.artifact.record import StoreError
from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.search.budget import SweepBudget
from collapse_ray.search.director import Director
from collapse_ray.search.events import SweepEvent
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.proposals import Listed
from collapse_ray.search.report import Judge, Report
from collapse_ray.search.schedulers import asha, median
from collapse_ray.search.spending import Spending
from collapse_ray.search.stop import StopRule
from collapse_ray.search.trainable import LineageTrial
from collapse_ray.search.trial import Trial
from collapse_ray.search.tune_state import has_failed
from collapse_ray.search.tuning import (
    Conduct,
    OncePerGeneration,
    SweepCallback,
    SweepSearcher,
    SweepStopper,
    tune_scheduler,
)
from collapse_ray.train.worker import GroupFailed

JUDGE = Judge(ProfileSpec(), None, "vector")


@dataclass(frozen=True)
class Prepared:
    """Stands in for a lineage: its trunk is that of its seed."""

    trial: Trial

    @property
    def id(self) -> str:
        return f"test-{self.trial.key}"

    @property
    def trunk(self) -> str:
        return f"trunk-{self.trial.seed}"


def grid(num_points: int, num_seeds: int = 1) -> list[Trial]:
    return [
        Trial({"regime.real_fraction": point / 10}, seed) for point in range(num_points) for seed in range(num_seeds)
    ]


@dataclass
class Sweep:
    """A director, what it told, and what it started."""

    trials: Sequence[Trial]
    budget: SweepBudget = field(default_factory=SweepBudget)
    published: set[str] = field(default_factory=set)
    judge: Judge = JUDGE

    def __post_init__(self) -> None:
        self.events: list[SweepEvent] = []
        self.prepared: list[Trial] = []
        self.director = Director(
            Listed(self.trials),
            self.judge,
            self.prepare,
            self.published.__contains__,
            Spending(self.budget, num_gpus=2.0),
            self.events.append,
        )

    def prepare(self, trial: Trial) -> Prepared:
        self.prepared.append(trial)
        return Prepared(trial)

    def start(self, max_held: int = 4) -> str:
        proposal = self.director.propose(max_held)
        assert not isinstance(proposal, str), proposal
        self.director.started(proposal[0])
        return proposal[0]

    def trial(self, key: str) -> Trial:
        return self.director.runs[key].event.trial

    def run(self, key: str, depth: int) -> None:
        for generation in range(1, depth + 1):
            self.director.take(key, report(generation, depth), held_s=10.0)
        self.director.ended(key, report(depth, depth), "the scheduler")


def report(generation: int, depth: int = 3, **fields: Any) -> Report:
    metrics = {"real_test_loss": 1.0, "real_test_loss_stderr": 0.01}
    return Report(
        generation, **{"state": "complete" if generation == depth else "running", "metrics": metrics, **fields}
    )


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


# What Tune is given --------------------------------------------------------------------------------


@dataclass
class TuneTrial:
    """What the adapters read of Tune's trial."""

    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)
    last_result: dict[str, Any] = field(default_factory=dict)
    status: str = "RUNNING"

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")


def adapters(
    sweep: Sweep, limit: Callable[[], int] = lambda: 2
) -> tuple[Conduct, SweepSearcher, SweepStopper, SweepCallback]:
    conduct = Conduct(sweep.director, limit, OncePerGeneration("test", FIFOScheduler()))
    searcher, stopper = SweepSearcher("test", conduct), SweepStopper("test", conduct)
    return (
        conduct,
        searcher,
        stopper,
        SweepCallback("test", conduct, "none", stopped=lambda *_: None, tend=lambda: None),
    )


def test_concurrency_is_counted_on_tunes_own_trials() -> None:
    sweep = Sweep(grid(4), published={"trunk-0"})
    _, searcher, _, callback = adapters(sweep)
    trials: list[Any] = []
    callback.on_step_begin(0, trials)
    for trial_id in "ab":
        trials.append(TuneTrial(trial_id, searcher.suggest(trial_id)))
    assert searcher.suggest("c") is None
    trials[0].status = "ERROR"
    trials.append(TuneTrial("c", searcher.suggest("c")))
    assert searcher.suggest("d") is None
    for trial in trials:
        trial.status = "TERMINATED"
    assert isinstance(searcher.suggest("d"), dict)
    assert searcher.suggest("e") == Searcher.FINISHED


def test_the_stopper_ends_what_has_ended_and_nothing_twice() -> None:
    sweep = Sweep(grid(1))
    _, searcher, stopper, callback = adapters(sweep)
    trial = TuneTrial("a", searcher.suggest("a"))
    key = trial.config["key"]
    results = [{"key": key, "time_this_iter_s": 1.0, **report(t, 2).to_result()} for t in (1, 2)]
    assert [stopper("a", result) for result in (results[0], results[0], results[1], results[1])] == [0, 0, 1, 1]
    trial.last_result = results[1]
    callback.on_trial_complete(0, [], trial)  # type: ignore[arg-type]  # a fake
    assert stopper("a", results[1])
    assert not stopper.stop_all()
    assert sweep.director.spending.generations == 2


def test_what_tune_saves_and_restores_is_the_living_object() -> None:
    sweep = Sweep(grid(1))
    _, searcher, stopper, callback = adapters(sweep)
    assert pickle.loads(pickle.dumps((searcher, stopper, callback))) == (searcher, stopper, callback)
    assert len(pickle.dumps(searcher)) < 200


def test_the_searcher_saves_director_and_scheduler(tmp_path: Any) -> None:
    sweep = Sweep(grid(3), published={"trunk-0"})
    conduct, searcher, _, _ = adapters(sweep)
    key = searcher.suggest("a")["key"]
    conduct.scheduler._told.add(("a", 1))
    searcher.save(str(tmp_path / "state"))
    again = Sweep(grid(3), published={"trunk-0"})
    other, its_searcher, _, _ = adapters(again)
    its_searcher.restore(str(tmp_path / "state"))
    assert list(again.director.runs) == [key]
    assert other.scheduler._told == {("a", 1)}
    assert not has_failed((tmp_path / "state").read_bytes())
    sweep.director.failed(key, "out of memory")
    searcher.save(str(tmp_path / "state"))
    assert has_failed((tmp_path / "state").read_bytes())


# Schedulers ------------------------------------------------------------------------------------------


class Controller:
    """A trial waits for its turn: the median stopping rule would pause another one for it."""

    def get_live_trials(self) -> list[TuneTrial]:
        return [TuneTrial("waiting", status="PENDING")]


def told(scheduler: OncePerGeneration, trial: str, generation: int, value: float | None) -> str:
    result = {"generation": generation, "metrics/real_test_loss": value}
    return scheduler.on_trial_result(Controller(), TuneTrial(trial), result)  # type: ignore[arg-type]  # a fake


def wrapped(spec: Any, trials: str, depth: int = 9) -> OncePerGeneration:
    scheduler = OncePerGeneration("test", tune_scheduler(spec, depth))
    for trial in trials:
        scheduler.on_trial_add(None, TuneTrial(trial))  # type: ignore[arg-type]  # a fake
    return scheduler


def test_asha_compares_at_generations() -> None:
    scheduler = wrapped(asha.Spec(grace_period=2, reduction_factor=2), "abcd")
    for trial, value in zip("abc", (1.0, 2.0, 3.0), strict=True):
        assert told(scheduler, trial, 1, value) == TrialScheduler.CONTINUE
    assert told(scheduler, "a", 2, 1.0) == TrialScheduler.CONTINUE
    assert told(scheduler, "b", 2, 9.0) == TrialScheduler.STOP


@pytest.mark.parametrize(
    "spec", [asha.Spec(grace_period=1, reduction_factor=2), median.Spec(grace_period=1, min_lineages=1)]
)
def test_a_scheduler_decides_alike_whatever_is_told_twice(spec: Any) -> None:
    rng = np.random.default_rng(0)
    values = {(trial, t): float(rng.normal()) for t in range(1, 6) for trial in "abcd"}
    once, twice = wrapped(spec, "abcd"), wrapped(spec, "abcd")
    ended: dict[str, int] = {}
    for (trial, generation), value in values.items():
        if trial in ended:
            continue
        decision = told(once, trial, generation, value)
        assert told(twice, trial, generation, value) == decision
        for before in range(1, generation + 1):  # its process was started again
            assert told(twice, trial, before, values[trial, before]) == TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP:
            ended[trial] = generation
            for scheduler in (once, twice, twice):
                result = {"generation": generation, "metrics/real_test_loss": value}
                scheduler.on_trial_complete(None, TuneTrial(trial), result)  # type: ignore[arg-type]  # a fake
    assert ended, "nobody was ended"


def test_a_scheduler_never_sees_a_missing_metric_and_never_pauses() -> None:
    for spec in (asha.Spec(grace_period=1, reduction_factor=2), median.Spec(grace_period=1)):
        scheduler = wrapped(spec, "ab")
        assert told(scheduler, "a", 1, None) == TrialScheduler.CONTINUE
        assert scheduler.on_trial_result(None, TuneTrial("a"), {"generation": 1}) == TrialScheduler.CONTINUE  # type: ignore[arg-type]

    class Pausing(FIFOScheduler):
        _metric = "metrics/real_test_loss"

        def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
            return TrialScheduler.PAUSE

    assert told(OncePerGeneration("test", Pausing()), "a", 1, 1.0) == TrialScheduler.CONTINUE


@pytest.mark.parametrize(
    "spec", [asha.Spec(grace_period=1, reduction_factor=2), median.Spec(grace_period=1, min_lineages=1)]
)
def test_a_scheduler_that_is_restored_knows_what_it_was_told(spec: Any) -> None:
    before = wrapped(spec, "ab")
    assert told(before, "a", 1, 1.0) == TrialScheduler.CONTINUE
    after = wrapped(spec, "")
    after.restore_state(before.state())
    after.on_trial_add(None, TuneTrial("b"))  # type: ignore[arg-type]  # Tune adds what it restores
    assert told(after, "b", 1, 5.0) == TrialScheduler.STOP


def test_a_report_comes_through_tune_unchanged() -> None:
    for each in (report(2), Report(1, "failed", reason="no"), report(1, metrics={"a": None, "b": math.pi})):
        assert Report.of({**each.to_result(), "time_this_iter_s": 1.0, "pid": 7}) == each


# One step of a trial ---------------------------------------------------------------------------------


def failing(error: Exception) -> LineageTrial:
    """A trial whose second generation fails, outside of an actor."""

    def reports() -> Iterator[Report]:
        yield report(1)
        raise error

    trial = LineageTrial.__new__(LineageTrial)
    trial._key, trial._generation, trial._reports = "a", 0, reports()
    return trial


@pytest.mark.parametrize(
    "error", [InvalidInput("no"), StoreError("full"), PlanMismatch("rows"), GroupFailed("four times")]
)
def test_an_error_that_would_come_again_ends_the_lineage(error: Exception) -> None:
    trial = failing(error)
    assert not trial.step()["done"]
    result = trial.step()
    assert result["done"]
    assert Report.of(result) == Report(1, "failed", reason=f"{type(error).__name__}: {error}")


def test_any_other_error_ends_the_process_which_tune_starts_again() -> None:
    trial = failing(MemoryError())
    trial.step()
    with pytest.raises(MemoryError):
        trial.step()
