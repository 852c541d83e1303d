"""What a lineage of a sweep reports after each generation, and how it decides about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from collapse_ray.config.payload import PayloadKind
from collapse_ray.lineage.loop import Progress
from collapse_ray.search.profile import ProfileSpec, profile
from collapse_ray.search.series import Replicate, Series
from collapse_ray.search.stop import StopRule
from collapse_ray.search.verdict import Verdict

State = Literal["running", "complete", "diverged", "stopped", "failed"]
"""Of a lineage after its latest generation; `failed` says nothing about its health."""


@dataclass(frozen=True)
class Report:
    """One generation of one lineage."""

    generation: int
    """0 where the lineage failed before its first."""
    state: State
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Of the generation; empty where it diverged."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """The status of each verdict, by kind."""
    reason: str | None = None
    """Why a stop rule ended the lineage, or how it failed."""
    reused: bool = False
    """Every stage of the generation was found in the store."""
    cost_s: float = 0.0
    """Seconds that its stages took; 0 where they were found."""

    def to_result(self) -> dict[str, Any]:
        """The report as Ray Tune carries it: metrics are `metrics/<name>` to its schedulers and trackers."""
        return {
            "generation": self.generation,
            "state": self.state,
            "metrics": dict(self.metrics),
            "verdicts": dict(self.verdicts),
            "reason": self.reason,
            "reused": self.reused,
            "cost_s": self.cost_s,
            "done": self.state != "running",
        }

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Of such a result."""
        return cls(**{name: result[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Judge:
    """The sweep's profile and stop rule, for each lineage by itself; picklable."""

    profile: ProfileSpec
    stop: StopRule | None
    payload: PayloadKind

    def verdicts(
        self, seed: int, metrics: Mapping[int, Mapping[str, float | None]], diverged: int | None
    ) -> dict[str, Verdict]:
        """The profile of what is known of a lineage, by kind.

        Args:
            seed: of the lineage.
            metrics: by generation.
            diverged: the generation in which training diverged.
        """
        return profile(self.profile, Series(self.payload, (Replicate(seed, metrics, diverged),)))

    def decide(self, seed: int, progress: Progress) -> str | None:
        """Why a lineage ends after its latest generation: a pure function of its evaluations."""
        if self.stop is None:
            return None
        stopping = self.stop.stops(self.verdicts(seed, _metrics(progress), None), progress.generation)
        reasons = [f"{each.kind} {each.status} at generation {each.generation}: {each.reason}" for each in stopping]
        return "; ".join(reasons) or None

    def report(self, seed: int, progress: Progress, cost_s: float, *, reused: bool) -> Report:
        """What to say of the latest generation, for which the lineage worked `cost_s`."""
        diverged = progress.generation if progress.verdict == "diverged" else None
        verdicts = self.verdicts(seed, _metrics(progress), diverged)
        return Report(
            progress.generation,
            progress.verdict,
            metrics={} if diverged else progress.evaluations[-1].metrics,
            verdicts={kind: verdict.status for kind, verdict in verdicts.items()},
            reason=progress.stopped_by if progress.verdict == "stopped" else None,
            reused=reused,
            cost_s=0.0 if reused else cost_s,
        )


def failure(after: int, error: Exception) -> Report:
    """A lineage that would fail again if it were started again."""
    return Report(after, "failed", reason=f"{type(error).__name__}: {error}")


def _metrics(progress: Progress) -> dict[int, Mapping[str, float | None]]:
    return {generation: record.metrics for generation, record in enumerate(progress.evaluations, start=1)}
