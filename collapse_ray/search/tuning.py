"""What Ray Tune is given: thin adapters around the director. A Ray seam.

Traps of Tune that are met here, each with a test:

- The last result of a trial reaches stopper, scheduler and searcher twice, and all results again after a restart.
- The median stopping rule counts whatever it is told, so it is told each generation once; and it pauses trials, which
  Tune cannot resume here.
- A scheduler is not part of what Tune saves; it is saved with the searcher.
- A concurrency limiter that is restored keeps slots of trials that nobody remembers; concurrency is counted on Tune's
  own list of trials instead.
- A trial that the searcher has saved and Tune has not is lost; the director takes it back.
- A metric that is missing, as after a divergence, ends the whole experiment; no scheduler sees a result without it.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher

from collapse_ray.search.director import Director
from collapse_ray.search.report import Report
from collapse_ray.search.scheduler import SchedulerSpec
from collapse_ray.search.schedulers import asha, median

TIME = "generation"

_LIVING: dict[str, Any] = {}


def _living(place: str) -> Any:
    return _LIVING.get(place)


class Attached:
    """Tune pickles what it is given and restores it from there: what comes back is the living object of this process.

    So nothing of a display, an open source or a search is ever in an experiment's folder.
    """

    place: str

    def attach(self, place: str) -> None:
        """Lives at a place, one for each sweep and part."""
        self.place = place
        _LIVING[place] = self

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return _living, (self.place,)


@dataclass
class Conduct:
    """What the adapters share: the director, and Tune's own list of trials."""

    director: Director
    max_concurrent: Callable[[], int]
    scheduler: "OncePerGeneration"
    trials: list[TuneTrial] = field(default_factory=list)
    reconciled: bool = False

    @property
    def num_unfinished(self) -> int:
        return sum(not trial.is_finished() for trial in self.trials)


@dataclass(frozen=True)
class _Named:
    """A trial as a scheduler sees it: Tune's own is another object after a restart."""

    trial_id: str


def key_of(trial: TuneTrial) -> str:
    """The director's key of Tune's trial."""
    return trial.config["key"]


class SweepSearcher(Attached, Searcher):
    """Asks the director for the next lineage, and keeps its state with Tune's."""

    def __init__(self, place: str, conduct: Conduct) -> None:
        super().__init__()
        self._conduct = conduct
        self.attach(f"{place}/searcher")

    def suggest(self, trial_id: str) -> Any:
        """What to give the next trial; None to be asked again, `FINISHED` for no more."""
        limit = self._conduct.max_concurrent()
        if self._conduct.num_unfinished >= limit:
            return None
        proposal = self._conduct.director.propose(limit)
        if isinstance(proposal, str):
            return self.FINISHED if proposal == "done" else None
        key, trial, given = proposal
        return {"key": key, "seed": trial.seed, "point": dict(trial.point), "given": given}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """The stopper is told before, and decides."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The callback is told, too, and knows the trial."""

    def save(self, checkpoint_path: str) -> None:
        state = {"director": self._conduct.director.state(), "scheduler": self._conduct.scheduler.state()}
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        state = pickle.loads(Path(checkpoint_path).read_bytes())  # noqa: S301 - written by `save`
        self._conduct.director.restore(state["director"])
        self._conduct.scheduler.restore_state(state["scheduler"])


class SweepStopper(Attached, Stopper):
    """Gives each report to the director, which may end the lineage."""

    def __init__(self, place: str, conduct: Conduct) -> None:
        self._conduct = conduct
        self.attach(f"{place}/stopper")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        held_s = result["time_this_iter_s"]
        return self._conduct.director.take(result["key"], Report.of(result), held_s) is not None

    def stop_all(self) -> bool:
        """Never: lineages end after a generation, not in the middle of one."""
        return False


class SweepCallback(Attached, Callback):
    """Tells the director what becomes of trials; calls `tend` between Tune's steps.

    Args:
        place: of the sweep.
        conduct: shared.
        scheduler: its name, as the reason for which a lineage was ended.
        stopped: told which lineage was stopped by others than itself, and why.
        tend: looks after whatever is to be looked after; must return at once.
    """

    def __init__(
        self,
        place: str,
        conduct: Conduct,
        scheduler: str,
        *,
        stopped: Callable[[Any, str], None],
        tend: Callable[[], None],
    ) -> None:
        self._conduct, self._scheduler, self._stopped, self._tend = conduct, scheduler, stopped, tend
        self.attach(f"{place}/callback")

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._conduct.trials = trials
        if not self._conduct.reconciled:
            self._conduct.director.reconcile({key_of(trial) for trial in trials})
            self._conduct.reconciled = True

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._tend()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._conduct.director.started(key_of(trial))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        last = Report.of(trial.last_result) if TIME in trial.last_result else None
        reason = self._conduct.director.ended(key_of(trial), last, f"the scheduler {self._scheduler}")
        if reason is not None:
            self._stopped(trial.config["given"], reason)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._conduct.director.failed(key_of(trial), str(trial.get_error()).strip().splitlines()[-1])


class OncePerGeneration(Attached, TrialScheduler):
    """A scheduler that is told every generation of a trial once, and only where it has the metric."""

    def __init__(self, place: str, scheduler: TrialScheduler) -> None:
        self._inner = scheduler
        self._added: set[str] = set()
        self._told: set[tuple[str, int]] = set()
        self.attach(f"{place}/scheduler")

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        if trial.trial_id not in self._added:
            self._added.add(trial.trial_id)
            self._inner.on_trial_add(tune_controller, self._named(trial))

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        news = self._news(trial, result)
        if news is None:
            return TrialScheduler.CONTINUE
        decision = self._inner.on_trial_result(tune_controller, self._named(trial), news)
        return TrialScheduler.STOP if decision == TrialScheduler.STOP else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        news = self._news(trial, result)
        if news is not None:
            self._inner.on_trial_complete(tune_controller, self._named(trial), news)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """What a trial reported before it failed stays true, and it may be started again."""

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """The same of a trial that is stopped before it runs."""

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        return self._inner.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return self._inner.debug_string()

    def _named(self, trial: TuneTrial) -> Any:
        return _Named(trial.trial_id)

    def _news(self, trial: TuneTrial, result: dict[str, Any]) -> dict[str, Any] | None:
        """Of a result what the scheduler reads; None where it knows that generation, or would miss the metric."""
        metric, told = self._inner.metric, (trial.trial_id, result.get(TIME, 0))
        if metric is None or result.get(metric) is None or told in self._told:
            return None
        self._told.add(told)
        return {TIME: result[TIME], metric: result[metric]}

    def state(self) -> bytes:
        """Picklable; `restore_state` continues from it."""
        # Tune's median stopping rule has a lambda in it.
        return cloudpickle.dumps((self._inner, self._added, self._told))  # pyright: ignore[reportPrivateImportUsage]

    def restore_state(self, state: bytes) -> None:
        self._inner, self._added, self._told = pickle.loads(state)  # noqa: S301 - written by `state`


def tune_scheduler(spec: SchedulerSpec, depth: int) -> TrialScheduler:
    """Tune's scheduler; only those that end lineages, none that pause them."""
    if isinstance(spec, asha.Spec):
        return AsyncHyperBandScheduler(
            time_attr=TIME,
            metric=f"metrics/{spec.metric}",
            mode=spec.mode,
            max_t=depth,
            grace_period=spec.grace_period,
            reduction_factor=spec.reduction_factor,
            brackets=spec.brackets,
        )
    if isinstance(spec, median.Spec):
        return MedianStoppingRule(
            time_attr=TIME,
            metric=f"metrics/{spec.metric}",
            mode=spec.mode,
            grace_period=spec.grace_period,
            min_samples_required=spec.min_lineages,
        )
    return FIFOScheduler()
