"""A scheduler compares lineages once per generation, whatever it is told twice and whatever is missing."""

from typing import Any

import numpy as np
import pytest
from fake_tune_trial import TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from collapse_ray.search.schedulers import asha, median
from collapse_ray.search.tuning import OncePerGeneration, tune_scheduler


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
