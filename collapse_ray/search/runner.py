"""Runs a sweep with Ray Tune: checks, starts, resumes, and looks after what trials leave. A Ray seam."""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial as TuneTrial

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import RunFailed
from collapse_ray.config.payload import PayloadKind
from collapse_ray.energy.marks import Work
from collapse_ray.lineage.claims import claims_on
from collapse_ray.lineage.index import id_of, mark_stopped, read_indices
from collapse_ray.lineage.launch import Marks, Metering, check_execution
from collapse_ray.lineage.retention import retire_first
from collapse_ray.search.capacity import Capacity
from collapse_ray.search.check import check_sweep
from collapse_ray.search.director import Director
from collapse_ray.search.events import OnEvent
from collapse_ray.search.given import Common, Given, InSweep
from collapse_ray.search.joules import Joulemeter
from collapse_ray.search.methods import frontier, optuna
from collapse_ray.search.outcome import SweepOutcome, write_sweep
from collapse_ray.search.preparing import Preparer
from collapse_ray.search.proposals import ForFrontier, Listed, Proposer
from collapse_ray.search.reaper import Reaper
from collapse_ray.search.report import Judge
from collapse_ray.search.sources import Sources
from collapse_ray.search.spec import Sweep
from collapse_ray.search.spending import Spending
from collapse_ray.search.trackers import check_packages, trackers
from collapse_ray.search.trainable import LineageTrial, lineage_trial
from collapse_ray.search.tune_state import can_resume
from collapse_ray.search.tuning import (
    Conduct,
    OncePerGeneration,
    SweepCallback,
    SweepSearcher,
    SweepStopper,
    tune_scheduler,
)
from collapse_ray.train.board import Board
from collapse_ray.train.cluster import cluster
from collapse_ray.train.execution import RunConfig as Execution

log = logging.getLogger(__name__)

FOLDER = "ray-tune"
"""Of the store: what Tune saves of sweeps, from which the same command goes on. Our own records are the truth."""

NOTES_S = 0.5
"""Between two looks at what stages lineages are at."""
WRITE_S = 10.0
"""Between two writes of the sweep's document."""
END_S = 30.0
"""Trials that were told to end have ended by then."""

TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""No files beside our own; a lineage that diverged has no metrics; failures are told by the outcome."""


def run_sweep(sweep: Sweep, on_event: OnEvent, metering: Metering) -> SweepOutcome:
    """Runs all lineages of a sweep that are not published yet; the same call goes on with one that was interrupted.

    Args:
        sweep: what to run.
        on_event: told of every change; must return at once.
        metering: meters the nodes while trials run.

    Raises:
        InvalidInput: a lineage cannot run, or the cluster cannot hold one.
        StoreError: the store cannot be written.
        KeyboardInterrupt: interrupted; what is published stays.
        RunFailed: Tune gave up.
    """
    run = sweep.run.absolute()
    store = Store(run.store)
    store.check_writable()
    sources = Sources()
    payload = check_sweep(sweep, sources)
    lineages = [sweep.lineage(point, sweep.spec.seeds[0]) for point in sweep.probes]
    for lineage in lineages:
        check_execution(lineage, run)
    check_packages(sweep.spec)
    store.clean_staging()
    capacity = Capacity(run, sweep.data_cpus, sweep.spec.max_concurrent)
    if run.address is None and not ray.is_initialized():
        capacity.check_machine()
    with cluster(run, capacity.num_cpus_here, dashboard=bool(run.workers)), metering() as marks:
        capacity.check()
        for _ in range(2):
            running = _Running(sweep, payload, run, capacity, sources, on_event=on_event, marks=marks)
            outcome = running.fit()
            if running.is_done:
                _retire_trunks(store, run, outcome)
                return outcome
            log.warning("Ray Tune ended before all lineages had; the sweep starts over on what is published")
            store.delete_folder(f"{FOLDER}/{sweep.id}")
    raise RunFailed("Ray Tune ended twice before all lineages had; the same command goes on with them")


class _Running:
    """One sweep on a cluster."""

    def __init__(
        self,
        sweep: Sweep,
        payload: PayloadKind,
        run: Execution,
        capacity: Capacity,
        sources: Sources,
        *,
        on_event: OnEvent,
        marks: Marks,
    ) -> None:
        store = Store(run.store)
        self._sweep, self._run, self._store, self._capacity = sweep, run, store, capacity
        self._marker = InSweep(marks.of_driver(), sweep.id)
        self._board: Any = Board.options(scheduling_strategy="DEFAULT").remote()
        self._notes: Any = None
        self._asked_s = self._wrote_s = -math.inf
        self._joules = Joulemeter(store, sweep.id)
        self._reaper = Reaper(LineageTrial.__name__) if run.workers else None
        judge = Judge(sweep.spec.profile, sweep.spec.stop, payload)
        self._director = Director(
            _proposer(sweep, payload),
            judge,
            Preparer(sweep, store, self._marker, sources),
            lambda trunk: store.find("model", trunk, need_files=False) is not None,
            Spending(sweep.spec.budget, run.num_gpus),
            on_event,
        )
        self._common = Common(sweep.id, run, judge, marks, claims_on(store), self._board)

    def fit(self) -> SweepOutcome:
        os.environ.update(TUNE, TUNE_MAX_PENDING_TRIALS_PG=str(self._capacity()))
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the outcome tells what failed
        with self._marker.working(Work("overhead", stage="driver")):
            try:
                with _interruptible():
                    self._tuner().fit()
            finally:
                write_sweep(self._store, self._sweep, self._director.outcome)
                self._clear()
        return self._director.outcome

    @property
    def is_done(self) -> bool:
        """Whether all lineages have ended."""
        return self._director.is_done

    def _tuner(self) -> Tuner:
        """A new one, or one that goes on from what Tune saved.

        It is made anew in any case: what is restored is what was saved last, and the cluster may be another one.
        """
        trainable = lineage_trial(self._common)
        folder = f"{FOLDER}/{self._sweep.id}"
        resumes = can_resume(self._store, folder)
        if not resumes:
            self._store.delete_folder(folder)
        tuner = Tuner(trainable, tune_config=self._tune_config(), run_config=self._run_config())
        if not resumes:
            return tuner
        return Tuner.restore(
            f"{self._store.uri}/{folder}", trainable=trainable, resume_unfinished=True, resume_errored=True
        )

    def _tune_config(self) -> TuneConfig:
        place, spec = self._sweep.id, self._sweep.spec
        scheduler = OncePerGeneration(place, tune_scheduler(spec.scheduler, spec.depth))
        self._conduct = Conduct(self._director, self._capacity, scheduler)
        return TuneConfig(
            num_samples=-1,
            search_alg=SweepSearcher(place, self._conduct),
            scheduler=scheduler,
            reuse_actors=not self._run.workers,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        )

    def _run_config(self) -> RunConfig:
        place, spec = self._sweep.id, self._sweep.spec
        callback = SweepCallback(place, self._conduct, spec.scheduler.kind, stopped=self._mark_stopped, tend=self._tend)
        return RunConfig(
            name=place,
            storage_path=f"{self._store.uri}/{FOLDER}",
            stop=SweepStopper(place, self._conduct),
            callbacks=[callback, *trackers(spec.callbacks, place)],
            failure_config=FailureConfig(max_failures=self._run.retries),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        )

    def _mark_stopped(self, given: Given, reason: str) -> None:
        ready = given.ready
        mark_stopped(self._store, ready.name, ready.lineage, ready.prepared, reason)

    # Between Tune's steps ------------------------------------------------------------------------

    def _tend(self) -> None:
        self._read_notes()
        if joules := self._joules.look():
            self._director.energy(joules.by_lineage, joules.total_j)
        if self._reaper:
            self._reaper.look()
        if time.monotonic() - self._wrote_s > WRITE_S:
            self._wrote_s = time.monotonic()
            write_sweep(self._store, self._sweep, self._director.outcome)

    def _read_notes(self) -> None:
        """What stages lineages are at, without waiting for it."""
        if self._notes is None and time.monotonic() - self._asked_s > NOTES_S:
            self._asked_s = time.monotonic()
            self._notes = self._board.drain.remote()
        elif self._notes is not None and ray.wait([self._notes], timeout=0)[0]:
            for key, generation, stage, reused in ray.get(self._notes):
                self._director.note(key, generation, stage, reused=reused)
            self._notes = None

    def _clear(self) -> None:
        """Nothing of the sweep stays: trials are waited for, and what they left is removed."""
        if self._reaper:
            until_s = time.monotonic() + END_S
            while self._reaper.num_living and time.monotonic() < until_s:
                time.sleep(0.2)
            self._reaper.reap_all()
        ray.kill(self._board)


def _retire_trunks(store: Store, run: Execution, outcome: SweepOutcome) -> None:
    """The retention policy, for what no lineage could remove while others began with it."""
    if run.keep_last is not None:
        ours = {lineage.lineage for lineage in outcome.lineages}
        for index in read_indices(store):
            if id_of(index) in ours:
                retire_first(store, run.keep_last, index)


def _proposer(sweep: Sweep, payload: PayloadKind) -> Proposer:
    search = sweep.spec.search
    if isinstance(search, frontier.Spec):
        return ForFrontier(sweep, payload)
    if isinstance(search, optuna.Spec):
        from collapse_ray.search.optuna_proposals import ByOptuna

        return ByOptuna(sweep)
    return Listed(sweep.trials())


def _name(trial: TuneTrial) -> str:
    return trial.trial_id


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt once Tune has saved its state: it handles the signal, and returns as if done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGINT)

    def interrupted() -> bool:
        # Tune's handler gives the signal back to the one before it when it is used.
        return signal.getsignal(signal.SIGINT) is before

    try:
        yield
        if interrupted():
            raise KeyboardInterrupt
    except Exception as error:
        # Tune sums up an interrupted run, too, and fails where Ray has removed the stopped job's working directory.
        if interrupted():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
