"""Where the lineages of a sweep come from, one after the other."""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from collapse_ray.config.payload import PayloadKind
from collapse_ray.search.events import State
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.frontier.search import FrontierSearch
from collapse_ray.search.methods import frontier
from collapse_ray.search.report import Report
from collapse_ray.search.spec import Sweep
from collapse_ray.search.trial import Trial

WHY = {
    "decided": "the search: its fate at the depth is known",
    "told_enough": "the search: it has told enough of the frontier",
    "budget": "the search: the budget is spent",
}
"""Why a frontier search ends a lineage; `depth` and `diverged` end it by themselves."""


class Proposer(Protocol):
    """Chooses lineages; told the same twice, it does what it did."""

    def propose(self, key: str) -> Trial | Literal["wait", "done"]:
        """The next lineage, to be known as `key`; `wait` until another one has ended, or `done`."""
        ...

    def observe(self, key: str, report: Report) -> str | None:
        """Takes a generation; says why the lineage should end after it, None to go on."""
        ...

    def end(self, key: str, state: State, verdicts: dict[str, str]) -> None:
        """The lineage runs no more.

        Args:
            key: of the lineage.
            state: how it ended.
            verdicts: the status of each at its end, by kind.
        """
        ...

    @property
    def is_open(self) -> bool:
        """Whether what was asked is not known yet."""
        ...

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """What was found, where a frontier is looked for."""
        ...

    def state(self) -> Any:
        """Picklable; `restore` continues from it."""
        ...

    def restore(self, state: Any) -> None: ...


class Listed:
    """Lineages that are known beforehand: a grid, or random points."""

    frontiers: tuple[Frontier, ...] = ()

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials
        self._next = 0

    @property
    def is_open(self) -> bool:
        return self._next < len(self._trials)

    def propose(self, key: str) -> Trial | Literal["wait", "done"]:
        if not self.is_open:
            return "done"
        self._next += 1
        return self._trials[self._next - 1]

    def observe(self, key: str, report: Report) -> None:
        pass

    def end(self, key: str, state: State, verdicts: dict[str, str]) -> None:
        pass

    def state(self) -> int:
        return self._next

    def restore(self, state: int) -> None:
        self._next = state


class ForFrontier:
    """The frontier search, told by lineages how much worse than generation 1 they are."""

    def __init__(self, sweep: Sweep, payload: PayloadKind) -> None:
        method = sweep.spec.search
        assert isinstance(method, frontier.Spec)
        self._method, self._axes = method, sweep.axes
        self._response = method.response(sweep.asked, payload)
        problem = method.problem(sweep.asked, payload)
        # The joules of a generation are known too late to be reported with it; the sweep itself watches their sum.
        budget = problem.budget.model_copy(update={"cost": None})
        self._search = FrontierSearch(problem.model_copy(update={"budget": budget}))
        self._firsts: dict[str, dict[str, float | None]] = {}

    def propose(self, key: str) -> Trial | Literal["wait", "done"]:
        proposal = self._search.propose(key)
        if isinstance(proposal, str):
            return proposal
        return Trial(self._method.point(self._axes, proposal.values), proposal.seed)

    def observe(self, key: str, report: Report) -> str | None:
        first = self._firsts.setdefault(key, dict(report.metrics))
        diverged = report.state == "diverged"
        response = math.inf if diverged else self._response.of(first, report.metrics)
        self._search.observe(key, report.generation, response, report.cost_s)
        reason = self._search.decide(key)
        return None if reason is None else WHY.get(reason)

    def end(self, key: str, state: State, verdicts: dict[str, str]) -> None:
        counts = {"collapsed"} if self._method.at == "collapsed" else {"collapsing", "collapsed"}
        if state == "failed":
            self._search.end(key, "failed")
        elif state == "stopped" and verdicts.get(self._method.verdict) in counts:
            self._search.end(key, "collapsed")
        else:
            self._search.end(key)
        self._firsts.pop(key, None)

    @property
    def is_open(self) -> bool:
        return not all(self._search.is_precise(arm) for arm in self._search.spec.arms)

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        return tuple(self._search.frontiers())

    def state(self) -> Any:
        return self._search.state(), self._firsts

    def restore(self, state: Any) -> None:
        searched, self._firsts = state
        self._search.restore(searched)
