"""The frontier search as a state machine that knows no executor: propose, observe, decide, end."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import qmc

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.frontier.belief import MIN_LINEAGES, Belief, observe
from collapse_ray.search.frontier.cost import CostModel
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.frontier.forecast import Forecaster
from collapse_ray.search.frontier.problem import Arm, Category, FrontierSpec
from collapse_ray.search.frontier.record import Ending, Lineage

FIRST_PLACES = (1 / 3, 1.0, 0.0, 2 / 3)
"""Places on the fraction of an arm's first lineages."""

MIN_REHEARSALS = 2
"""A lineage that looks healthy is not stopped before as many others of its arm went to the depth."""

CERTAIN = 0.99
"""A lineage is stopped when it survives, or collapses, with this probability."""

MAX_FAILURES = 5
"""An arm is given up after as many failures one after another."""

Reason = Literal["decided", "told_enough", "diverged", "depth", "budget"]


@dataclass(frozen=True)
class Proposal:
    """A lineage to run: a value for every axis, and a seed that no other lineage of its arm has."""

    values: Mapping[str, Category]
    seed: int


class FrontierSearch:
    """Chooses lineages, says when each has told enough, and where the frontier is.

    Lineages of one arm must be independent given their axes, which is why each has a seed of its own. Every method is
    safe to call again with what it was told before.
    """

    def __init__(self, spec: FrontierSpec) -> None:
        self.spec = spec
        self.lineages: dict[str, Lineage] = {}
        self._ended: list[str] = []
        self._forecasters = {arm: Forecaster(spec.depth) for arm in spec.arms}
        self._beliefs: dict[Arm, Belief | None] = {}

    # What to run ---------------------------------------------------------------------------------

    def propose(self, key: str) -> Proposal | Literal["wait", "done"]:
        """The next lineage, to be known as `key`; `wait` until one has ended, or `done`."""
        if self.exhausted:
            return "done"
        open_arms = [arm for arm in self.spec.arms if not self._given_up(arm) and not self.is_precise(arm)]
        if not open_arms:
            # What still runs may widen an interval again.
            return "wait" if any(lineage.ending is None for lineage in self.lineages.values()) else "done"
        choices = [choice for arm in open_arms if (choice := self._next_place(arm))]
        if not choices:
            return "wait"
        arm, place, _ = max(choices, key=lambda choice: choice[2])
        values = self.spec.values(place)
        seed = self.spec.seed + sum(lineage.arm == arm for lineage in self.lineages.values())
        unit = tuple(float(each) for each in self.spec.unit(values))
        self.lineages[key] = Lineage(key, arm, values, unit, seed)
        paths = [axis.path for axis in self.spec.axes]
        return Proposal({**dict(zip(paths, values, strict=True)), **dict(arm)}, seed)

    def _next_place(self, arm: Arm) -> tuple[Arm, np.ndarray, float] | None:
        """A place in the arm and how much a lineage there tells per cost; None where it is better to wait."""
        started = [lineage for lineage in self.lineages.values() if lineage.arm == arm]
        num_first = len(FIRST_PLACES) * len(self.spec.axes)
        if len(started) < num_first:
            return arm, self._first_places(num_first)[len(started)], math.inf
        belief = self.belief(arm)
        running = np.array([lineage.unit for lineage in started if lineage.ending is None])
        if belief is None:
            return None if len(running) else (arm, self._first_places(num_first)[0], math.inf)
        enough = len(belief.observations) + len(running) >= MIN_LINEAGES
        if len(running) and enough and belief.width_once_ended(running) <= self.spec.precision:
            return None
        return arm, *belief.best_place(running)

    def _first_places(self, count: int) -> np.ndarray:
        """(count, D): even along the fraction, a Halton sequence along the other axes."""
        fractions = np.resize(FIRST_PLACES, count)
        if not self.spec.others:
            return fractions[:, None]
        others = qmc.Halton(len(self.spec.others), rng=self.spec.seed).random(count)
        return np.concatenate([fractions[:, None], others], axis=1)

    # What came of it -----------------------------------------------------------------------------

    def observe(self, key: str, generation: int, response: float | None, cost: float | None = None) -> None:
        """The response (null where it was not measured) and the cost (joules or seconds) of one generation.

        A response that is not a finite number says that the lineage has diverged, and counts as a collapse.
        """
        lineage = self._known(key)
        if lineage.ending is not None:
            return
        lineage.reached = max(lineage.reached, generation)
        if cost is not None:
            lineage.costs[generation] = cost
        if response is None:
            return
        margin = self.spec.margin(response)
        if math.isfinite(margin):
            lineage.margins[generation] = margin
        else:
            self._end(lineage, "diverged")

    def decide(self, key: str) -> Reason | None:
        """Why the lineage should be stopped now; None to follow it further."""
        lineage = self._known(key)
        if lineage.ending == "diverged":
            return "diverged"
        if lineage.reached >= self.spec.depth:
            return "depth"
        if self._spent_out:
            return "budget"
        forecaster = self._forecasters[lineage.arm]
        forecast = forecaster.forecast(lineage)
        if forecast is None:
            return None
        healthy_may_stop = forecaster.num_rehearsals >= MIN_REHEARSALS
        if forecast.survives < 1 - CERTAIN or (forecast.survives > CERTAIN and healthy_may_stop):
            return "decided"
        belief = self.belief(lineage.arm)
        if belief is None or not healthy_may_stop or lineage.reached < belief.plan.generations:
            return None
        return "told_enough" if self._num_full(belief, lineage) >= belief.plan.num_full else None

    def _num_full(self, belief: Belief, but: Lineage) -> float:
        """Lineages near the frontier that went to the depth or are on their way."""
        deep = [
            lineage
            for lineage in self.lineages.values()
            if lineage.arm == belief.arm
            and lineage is not but
            and (
                self.spec.depth in lineage.margins
                or (lineage.ending is None and lineage.reached > belief.plan.generations)
            )
        ]
        return sum(belief.nearness(lineage.unit) for lineage in deep)

    def end(self, key: str, outcome: Literal["collapsed", "survived", "failed"] | None = None) -> None:
        """The lineage runs no more; `outcome` where something other than the series says how it ended."""
        lineage = self._known(key)
        if lineage.ending is None:
            self._end(lineage, outcome or ("depth" if self.spec.depth in lineage.margins else "stopped"))

    def _end(self, lineage: Lineage, ending: Ending) -> None:
        lineage.ending = ending
        self._ended.append(lineage.key)
        if ending != "failed":
            self._forecasters[lineage.arm].learn(lineage)
        self._beliefs.pop(lineage.arm, None)

    def _known(self, key: str) -> Lineage:
        if key not in self.lineages:
            raise InvalidInput(f"the search proposed no lineage {key!r}; call propose({key!r}) before")
        return self.lineages[key]

    # What is known -------------------------------------------------------------------------------

    def frontiers(self) -> list[Frontier]:
        """The frontier of each arm at each asked place; arms of which nothing is known yet are left out."""
        beliefs = [self.belief(arm) for arm in self.spec.arms]
        return [frontier for belief in beliefs if belief for frontier in belief.frontiers]

    def belief(self, arm: Arm) -> Belief | None:
        """What is believed of an arm; None before any of its lineages told anything."""
        if arm not in self._beliefs:
            self._beliefs[arm] = self._believe(arm)
        return self._beliefs[arm]

    def _believe(self, arm: Arm) -> Belief | None:
        ended = [self.lineages[key] for key in self._ended if self.lineages[key].arm == arm]
        forecaster = self._forecasters[arm]
        told = observe(ended, forecaster)
        if told is None:
            return None
        costs = CostModel(self.spec.arms, [self.lineages[key] for key in self._ended])
        return Belief(self.spec, arm, told, forecaster, costs)

    def is_precise(self, arm: Arm) -> bool:
        """Whether the arm's widest interval is as narrow as asked."""
        belief = self.belief(arm)
        return belief is not None and belief.is_precise

    @property
    def num_generations(self) -> int:
        """Over all lineages."""
        return sum(lineage.reached for lineage in self.lineages.values())

    @property
    def cost(self) -> float:
        """Measured, over all lineages."""
        return math.fsum(lineage.cost for lineage in self.lineages.values())

    @property
    def exhausted(self) -> bool:
        """Whether no further lineage may be started."""
        trials = self.spec.budget.trials
        return self._spent_out or (trials is not None and len(self.lineages) >= trials)

    @property
    def _spent_out(self) -> bool:
        budget = self.spec.budget
        return (budget.generations is not None and self.num_generations >= budget.generations) or (
            budget.cost is not None and self.cost >= budget.cost
        )

    def _given_up(self, arm: Arm) -> bool:
        last = [self.lineages[key].ending for key in self._ended if self.lineages[key].arm == arm][-MAX_FAILURES:]
        return last == ["failed"] * MAX_FAILURES

    # Kept across restarts ------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` continues."""
        return {"lineages": [asdict(lineage) for lineage in self.lineages.values()], "ended": list(self._ended)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Forgets everything and continues from what `state` gave."""
        self.__init__(self.spec)
        self.lineages = {fields["key"]: Lineage(**fields) for fields in state["lineages"]}
        self._ended = list(state["ended"])
        for key in self._ended:
            if self.lineages[key].ending != "failed":
                self._forecasters[self.lineages[key].arm].learn(self.lineages[key])
