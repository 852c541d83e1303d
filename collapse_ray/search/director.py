"""A sweep without its executor: which lineage starts next, when each ends, what is known of all of them."""

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from collapse_ray.search.events import ENDED, OnEvent, SweepEvent
from collapse_ray.search.events import State as EventState
from collapse_ray.search.outcome import LineageOutcome, SweepOutcome, SweepState
from collapse_ray.search.proposals import Proposer
from collapse_ray.search.report import Judge, Report
from collapse_ray.search.spending import Spending
from collapse_ray.search.trial import Trial
from collapse_ray.search.trunk import Trunks


class Given(Protocol):
    """A lineage whose real data is in the store."""

    @property
    def id(self) -> str:
        """As results and the ledger name it."""
        ...

    @property
    def trunk(self) -> str:
        """Fingerprint of its generation 1."""
        ...


@dataclass
class Run:
    """One lineage, as far as its reports tell."""

    key: str
    event: SweepEvent
    trunk: str
    metrics: dict[int, Mapping[str, float | None]] = field(default_factory=dict)
    ends: str | None = None
    """Why it ends after its latest generation."""

    @property
    def ended(self) -> bool:
        return self.event.state in ENDED


class Director:
    """Told twice what it knows, it does nothing new: whatever restarts reports from generation 1 again.

    Args:
        proposer: chooses lineages.
        judge: tells the profile of a lineage.
        prepare: puts the real data of a lineage into the store, and says what to run.
        published: whether the store has the model of this fingerprint.
        spending: of the sweep's budget.
        on_event: told of every change.
    """

    def __init__(
        self,
        proposer: Proposer,
        judge: Judge,
        prepare: Callable[[Trial], Given],
        published: Callable[[str], bool],
        spending: Spending,
        on_event: OnEvent,
    ) -> None:
        self._proposer, self._judge, self._prepare, self._on_event = proposer, judge, prepare, on_event
        self._trunks = Trunks(published)
        self.spending = spending
        self.runs: dict[str, Run] = {}
        self._given: dict[str, Given] = {}
        self._held: list[str] = []
        """Proposed and not started: their trunk is being computed, or an executor lost them."""
        self._proposed_all = False
        self._cut = False

    # What to start -------------------------------------------------------------------------------

    def propose(self, max_held: int) -> tuple[str, Trial, Given] | Literal["wait", "done"]:
        """The next lineage to start: its key, and what to run.

        Args:
            max_held: lineages that may be proposed ahead while their trunk is computed.

        Raises:
            InvalidInput: the search proposed a lineage that cannot run.
        """
        if self.spending.over:
            self._cut = self._cut or bool(self._held) or self._proposer.is_open
            self._proposed_all = True
            return "done"
        for key in self._held:
            if self._trunks.may_start(key, self.runs[key].trunk):
                self._held.remove(key)
                return self._start(key)
        while len(self._held) < max(1, max_held):
            key = self._take_proposal()
            if key is None:
                break
            if self._trunks.may_start(key, self.runs[key].trunk):
                return self._start(key)
            self._held.append(key)
        return "done" if self._proposed_all and not self._held else "wait"

    def _take_proposal(self) -> str | None:
        if self._proposed_all:
            return None
        if self.spending.no_more:
            self._proposed_all, self._cut = True, self._proposer.is_open
            return None
        key = uuid.uuid4().hex[:8]
        trial = self._proposer.propose(key)
        if isinstance(trial, str):
            self._proposed_all = trial == "done"
            return None
        given = self._prepare(trial)
        self._given[key] = given
        self.runs[key] = Run(key, SweepEvent(trial, "waiting", given.id), given.trunk)
        self.spending.start(key)
        self._on_event(self.runs[key].event)
        return key

    def _start(self, key: str) -> tuple[str, Trial, Given]:
        trial = self.runs[key].event.trial
        # It was prepared when it was proposed, unless a driver proposed it that ended.
        return key, trial, self._given.pop(key, None) or self._prepare(trial)

    # What comes of it ----------------------------------------------------------------------------

    def started(self, key: str) -> None:
        """A lineage runs, again perhaps."""
        if run := self.runs.get(key):
            self._trunks.may_start(key, run.trunk)
            self._tell(run, state="running", reason=None)

    def note(self, key: str, generation: int, stage: str, *, reused: bool) -> None:
        """A lineage is at a stage of a generation; what its report has overtaken is passed over."""
        run = self.runs.get(key)
        after = generation + 1 if stage == "generate" else generation  # a generation is sampled for the next one
        if run and not run.ended and after > run.event.generation:
            self._tell(run, stage=stage, reused=reused)

    def take(self, key: str, report: Report, held_s: float) -> str | None:
        """Takes the report of a generation.

        Args:
            key: of the lineage.
            report: may have been taken before.
            held_s: seconds for which the lineage held its resources for it.

        Returns:
            Why the lineage ends after it; None to go on.
        """
        run = self.runs.get(key)
        if run is None or run.ended:
            return None if report.state == "running" else report.state
        if report.generation > run.event.generation or report.state == "failed":
            run.ends = self._take_new(run, report, held_s)
        return run.ends if report.generation >= run.event.generation else None

    def _take_new(self, run: Run, report: Report, held_s: float) -> str | None:
        if report.state == "failed":
            self._tell(run, reason=report.reason)
            return "failed"
        self._trunks.reached(run.trunk)
        self.spending.generation(held_s)
        diverged = report.generation if report.state == "diverged" else None
        if diverged is None:
            run.metrics[report.generation] = report.metrics
        search = self._proposer.observe(run.key, report)
        self._tell(
            run,
            generation=report.generation,
            stage=None,
            reused=report.reused,
            verdicts=self._judge.verdicts(run.event.trial.seed, run.metrics, diverged),
            reason=report.reason,
        )
        if report.state != "running":
            return report.state
        over = self.spending.over
        self._cut = self._cut or over is not None
        return search or over

    def ended(self, key: str, last: Report | None, otherwise: str) -> str | None:
        """A lineage runs no more.

        Args:
            key: of the lineage.
            last: its last report; None where there is none.
            otherwise: what ended it, where neither it nor the search or the budget did.

        Returns:
            Why it was stopped, where it does not know itself.
        """
        run = self.runs.get(key)
        if run is None or run.ended:
            return None
        if last is None or last.state == "running":
            self._end(run, "stopped", run.ends or otherwise)
            return run.event.reason
        self._end(run, last.state, run.event.reason)
        return None

    def failed(self, key: str, reason: str) -> None:
        """A lineage failed more often than it may be started."""
        run = self.runs.get(key)
        if run and not run.ended:
            self._end(run, "failed", reason)

    def _end(self, run: Run, state: EventState, reason: str | None) -> None:
        statuses: dict[str, str] = {kind: verdict.status for kind, verdict in run.event.verdicts.items()}
        self._trunks.ended(run.key, run.trunk)
        self._tell(run, state=state, stage=None, reason=reason)
        self._proposer.end(run.key, state, statuses)

    def energy(self, by_lineage: Mapping[str, float], total_j: float | None) -> None:
        """What the ledger says of the sweep so far."""
        self.spending.energy_j = total_j
        for run in self.runs.values():
            energy_j = by_lineage.get(run.event.lineage or "")
            if energy_j is not None and energy_j != run.event.energy_j:
                self._tell(run, energy_j=energy_j)

    def _tell(self, run: Run, **news: Any) -> None:
        run.event = replace(run.event, **news)
        self._on_event(run.event)

    # What is known -------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing more is proposed."""
        return self._proposed_all and all(run.ended or run.key in self._held for run in self.runs.values())

    @property
    def outcome(self) -> SweepOutcome:
        """All lineages, in the order in which they were proposed."""
        lineages = tuple(LineageOutcome.of(run.event) for run in self.runs.values())
        return SweepOutcome(self._state, lineages, self._proposer.frontiers)

    @property
    def _state(self) -> SweepState:
        if not self.is_done:
            return "running"
        if any(run.event.state == "failed" for run in self.runs.values()):
            return "failed"
        return "exhausted" if self._cut else "complete"

    # Kept across restarts ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Picklable; `restore` continues from it."""
        spent = (self.spending.generations, self.spending.gpu_s)
        ahead = (self._proposed_all, self._cut)
        return {"runs": self.runs, "spent": spent, "ahead": ahead, "proposer": self._proposer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues a sweep whose driver ended; `reconcile` says which of its lineages are still known."""
        self.runs = dict(state["runs"])
        self.spending.generations, self.spending.gpu_s = state["spent"]
        self._proposed_all, self._cut = state["ahead"]
        for key in self.runs:
            self.spending.start(key)
        self._proposer.restore(state["proposer"])

    def reconcile(self, known: Collection[str]) -> None:
        """Takes back lineages that were proposed and that the executor does not know: it saves less often."""
        lost = [run.key for run in self.runs.values() if not run.ended and run.key not in known]
        self._held = [key for key in lost if key not in self._held] + self._held
