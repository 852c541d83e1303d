"""What a sweep has spent of its budget."""

from dataclasses import dataclass, field

from collapse_ray.search.budget import SweepBudget


@dataclass
class Spending:
    """Counts generations once each, whoever computed them; GPU time as long as trials hold the GPUs.

    Joules are those of the ledger: what was found in the store cost this sweep none.
    """

    budget: SweepBudget
    num_gpus: float = 0.0
    """That each lineage holds."""
    generations: int = 0
    gpu_s: float = 0.0
    energy_j: float | None = None
    """As the ledger last said; None where it does not say."""
    _lineages: set[str] = field(default_factory=set)

    def start(self, lineage: str) -> None:
        """A lineage was proposed."""
        self._lineages.add(lineage)

    def generation(self, held_s: float) -> None:
        """A lineage came to the end of a generation, for which it held its GPUs."""
        self.generations += 1
        self.gpu_s += held_s * self.num_gpus

    @property
    def over(self) -> str | None:
        """Which limit ends the sweep; None while it goes on."""
        budget, spent_hours = self.budget, self.gpu_s / 3600
        if budget.generations is not None and self.generations >= budget.generations:
            return f"budget.generations={budget.generations} is spent"
        if budget.gpu_hours is not None and spent_hours >= budget.gpu_hours:
            return f"budget.gpu_hours={budget.gpu_hours:g} is spent"
        if budget.joules is not None and self.energy_j is not None and self.energy_j >= budget.joules:
            return f"budget.joules={budget.joules:g} is spent"
        return None

    @property
    def no_more(self) -> str | None:
        """Why no further lineage is started."""
        trials = self.budget.trials
        if trials is not None and len(self._lineages) >= trials:
            return f"budget.trials={trials} are started"
        return self.over
