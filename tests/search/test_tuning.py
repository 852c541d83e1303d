"""What Tune is given of a sweep, with fakes of its trials."""

import pickle
from collections.abc import Callable
from typing import Any

from directed_sweeps import Sweep, grid, report
from fake_tune_trial import TuneTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from collapse_ray.search.tune_state import has_failed
from collapse_ray.search.tuning import Conduct, OncePerGeneration, SweepCallback, SweepSearcher, SweepStopper


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
