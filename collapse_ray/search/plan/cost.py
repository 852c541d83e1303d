"""What the stages that are left will cost: from records where there are any, else from the stated model."""

from dataclasses import dataclass

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.search.places import Node
from collapse_ray.search.plan import model
from collapse_ray.search.plan.estimate import Estimate, total
from collapse_ray.search.plan.history import History
from collapse_ray.search.plan.walk import PlannedStage
from collapse_ray.search.plan.workload import planned
from collapse_ray.train.execution import RunConfig


@dataclass(frozen=True)
class Cost:
    """Of stages; None where it is not known."""

    duration_s: Estimate | None
    """Of the stages, one after the other."""
    gpu_hours: Estimate | None
    """Of all GPUs that lineages hold meanwhile."""
    energy_j: Estimate | None
    num_bytes: Estimate | None
    """Written; what a retention policy removes later is in it."""

    @classmethod
    def total(cls, costs: "list[Cost]") -> "Cost":
        """The sum."""
        return cls(
            total(cost.duration_s for cost in costs),
            total(cost.gpu_hours for cost in costs),
            total(cost.energy_j for cost in costs),
            total(cost.num_bytes for cost in costs),
        )

    def times(self, factor: float) -> "Cost":
        """As much of it."""
        each = (self.duration_s, self.gpu_hours, self.energy_j, self.num_bytes)
        return Cost(*(None if part is None else part.times(factor) for part in each))


UNKNOWN = Cost(None, None, None, None)


class Estimator:
    """Costs of stages under one set of run settings.

    Args:
        history: of the store.
        run: what the workers hold.
        node: the largest one that they may lie on.
    """

    def __init__(self, history: History, run: RunConfig, node: Node) -> None:
        self._history, self._run, self._node = history, run, node
        self._outlines: dict[str, model.Outline] = {}

    def cost(self, stage: PlannedStage) -> Cost:
        """Of one stage."""
        outline = self._outline(stage)
        weight_bytes = 1 if stage.lineage.family.closed_form else outline.num_bytes
        workload = planned(stage, weight_bytes, max(1, self._run.workers))
        duration = self._history.estimate(workload, "duration_s") or model.duration(stage, outline, self._run)
        energy = self._history.estimate(workload, "energy_j")
        if energy is None:
            energy = duration.by(model.power(stage.stage, self._run, self._node))
        num_bytes = self._history.estimate(workload, "num_bytes") or model.stored(stage, outline)
        num_gpus = 0 if stage.stage == "ingest" else self._run.num_gpus
        return Cost(duration, duration.times(num_gpus / 3600), energy, num_bytes)

    def _outline(self, stage: PlannedStage) -> model.Outline:
        family, payload = stage.lineage.family, stage.prepared.payload
        key = fingerprint([family.identity(), payload.to_json()])
        if key not in self._outlines:
            self._outlines[key] = model.Outline.of(family, payload)
        return self._outlines[key]
