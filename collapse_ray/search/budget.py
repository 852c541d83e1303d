"""What a sweep may spend."""

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Spec
from collapse_ray.train.execution import RunConfig


class SweepBudget(Spec):
    """Limits over all lineages of a sweep; nothing new is started once one of them is reached. Null: no limit."""

    trials: int | None = Field(default=None, ge=1)
    """Lineages."""
    generations: int | None = Field(default=None, ge=1)
    """Generations, summed over lineages."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """Hours of reserved GPUs, summed over GPUs."""
    joules: float | None = Field(default=None, gt=0)
    """Joules that the meters find; what was found in the store costs nothing."""

    def check(self, depth: int, run: RunConfig) -> None:
        """Refuses a budget that cannot buy one lineage, or that nothing counts against.

        Raises:
            InvalidInput: says which limit, and what to do.
        """
        if self.generations is not None and self.generations < depth:
            raise InvalidInput(
                f"budget.generations={self.generations} cannot buy one lineage of depth={depth}; "
                f"give at least {depth}, or a smaller depth"
            )
        if self.gpu_hours is not None and run.gpus_per_worker == 0:
            raise InvalidInput(
                f"budget.gpu_hours={self.gpu_hours:g}, but run.gpus_per_worker=0: no GPU hour would ever be spent; "
                "set run.gpus_per_worker, or give the budget in trials, generations or joules"
            )
        if self.joules is not None and not run.meter.enabled:
            raise InvalidInput(
                f"budget.joules={self.joules:g}, but run.meter.enabled=false: nobody would count them; "
                "switch the meter on, or give the budget in trials, generations or gpu_hours"
            )
