"""A sweep's director, with lineages that only report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from collapse_ray.search.budget import SweepBudget
from collapse_ray.search.director import Director
from collapse_ray.search.events import SweepEvent
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.proposals import Listed
from collapse_ray.search.report import Judge, Report
from collapse_ray.search.spending import Spending
from collapse_ray.search.trial import Trial

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
