"""What all lineages of a command show to Prometheus while they run: states and verdicts. For the driver."""

from collections import Counter as Count
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collapse_ray.config.payload import Payload
from collapse_ray.lineage.gauges import MAX_LINEAGES
from collapse_ray.lineage.kept_gauge import KeptGauge
from collapse_ray.lineage.launch import Task
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.monitoring import metrics
from collapse_ray.search.events import State, SweepEvent
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.report import Judge
from collapse_ray.search.spec import Sweep
from collapse_ray.search.verdict import Verdict

DIVERGED = "diverged"
"""Stands for a verdict where training diverged."""


class SweepGauges:
    """A listener of the events of a sweep. Ray need not be up before the first."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._tally = _Tally(sweep.id)
        self._budget = KeptGauge(metrics.BUDGET)

    def __call__(self, event: SweepEvent) -> None:
        """Shows what is new."""
        if self._sweep.spec.budget.joules is not None:
            self._budget.set(self._sweep.spec.budget.joules, {"sweep": self._sweep.id})
        self._tally.show(event.trial.key, event.lineage, event.state, event.generation, event.verdicts)


class RunGauges:
    """A listener of stage events for lineages that run by themselves; judges each with the default profile.

    Ray need not be up before the first event.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {(task.name, task.lineage.seed): task for task in tasks}
        self._tallies = {name: _Tally(name) for name in {task.name for task in tasks}}
        self._runs: dict[tuple[str, int], _Run] = {}

    def __call__(self, event: StageEvent) -> None:
        """Shows what is new."""
        if not self._runs:
            for (name, seed), task in self._tasks.items():
                self._runs[name, seed] = _Run(task)
                self._tallies[name].show(str(seed), None, "waiting", 0, {})
        run = self._runs[event.lineage, event.seed]
        if run.take(event):
            self._tallies[event.lineage].show(str(event.seed), event.id, run.state, run.generation, run.verdicts)


@dataclass
class _Run:
    """One lineage, as far as its records tell."""

    task: Task
    state: State = "waiting"
    generation: int = 0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    metrics: dict[int, Mapping[str, float | None]] = field(default_factory=dict)

    def take(self, event: StageEvent) -> bool:
        """Whether the event changes anything that is shown."""
        record, begins = event.record, self.state == "waiting"
        if begins:
            self.state = "running"
        if record is None or event.generation in self.metrics:
            return begins
        if record.kind == "model" and record.outcome == "diverged":
            self.state, self.generation = "diverged", event.generation
        elif record.kind == "evaluation":
            self.metrics[event.generation], self.generation = record.metrics, event.generation
            self.state = "complete" if event.generation == self.task.lineage.depth else "running"
        else:
            return begins
        self.verdicts = self._judged()
        return True

    def _judged(self) -> Mapping[str, Verdict]:
        payload: Payload = self.task.opened.data.payload
        diverged = self.generation if self.state == "diverged" else None
        return Judge(ProfileSpec(), None, payload.kind).verdicts(self.task.lineage.seed, self.metrics, diverged)


class _Tally:
    """Counts lineages by state and by verdict, and names those that collapsed."""

    def __init__(self, experiment: str) -> None:
        self._experiment = {"experiment": experiment}
        self._lineages = KeptGauge(metrics.LINEAGES)
        self._verdicts = KeptGauge(metrics.VERDICTS)
        self._collapsed = KeptGauge(metrics.COLLAPSED)
        self._states: dict[str, State] = {}
        self._statuses: dict[str, Mapping[str, str]] = {}
        self._num_by_state: Count[str] = Count()
        self._num_by_status: Count[tuple[str, str]] = Count()
        self._named: set[str] = set()

    def show(
        self, key: str, lineage: str | None, state: State, generation: int, verdicts: Mapping[str, Verdict]
    ) -> None:
        """Takes what is known of one lineage now.

        Args:
            key: tells it from the others.
            lineage: as results name it; None as long as nobody knows.
            state: what it does, or how it ended.
            generation: its latest one.
            verdicts: on it, by kind.
        """
        self._move_state(key, state)
        self._move_statuses(key, {kind: verdict.status for kind, verdict in verdicts.items()})
        if lineage is not None:
            self._name(lineage, state, generation, verdicts)

    def _move_state(self, key: str, state: State) -> None:
        before = self._states.get(key)
        if state == before:
            return
        self._states[key] = state
        self._num_by_state[state] += 1
        if before is not None:
            self._num_by_state[before] -= 1
        for changed in {state, before} - {None}:
            self._lineages.set(self._num_by_state[str(changed)], {**self._experiment, "state": str(changed)})

    def _move_statuses(self, key: str, statuses: Mapping[str, str]) -> None:
        before = self._statuses.get(key, {})
        if statuses == before:
            return
        self._statuses[key] = statuses
        self._num_by_status.update(statuses.items())
        self._num_by_status.subtract(before.items())
        for verdict, status in statuses.items() ^ before.items():
            labels = {**self._experiment, "verdict": verdict, "status": status}
            self._verdicts.set(self._num_by_status[verdict, status], labels)

    def _name(self, lineage: str, state: State, generation: int, verdicts: Mapping[str, Verdict]) -> None:
        collapsed = {
            kind: verdict.generation
            for kind, verdict in verdicts.items()
            if verdict.status == "collapsed" and verdict.generation is not None
        }
        if state == "diverged":
            collapsed[DIVERGED] = generation
        if not collapsed or (lineage not in self._named and len(self._named) >= MAX_LINEAGES):
            return
        self._named.add(lineage)
        for verdict, at in collapsed.items():
            self._collapsed.set(at, {**self._experiment, "lineage": lineage, "verdict": verdict})
