"""Every metric that collapse-ray gives to Prometheus: name, labels, meaning. Dashboards, alerts and docs follow it.

Ray puts `ray_` before each name and `_total` behind that of a counter. It adds labels of its own, such as `WorkerId`,
which is another one for each process. A gauge goes when its process ends. A counter stays as long as the node's agent;
those of the ledger begin at the totals of its journal, so that the newest is the largest: take `max` over `WorkerId`
there. All other counters begin at zero in each process: take `rate` or `increase` first, then `sum`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric as its process declares it."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    help: str

    @property
    def series(self) -> str:
        """What Prometheus calls it."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


# One lineage: told by the process in which its rank 0 runs ----------------------------------------

GENERATION = Metric("collapse_generation", "gauge", ("lineage",), "The latest generation that was evaluated")
REAL_FRACTION = Metric(
    "collapse_real_fraction", "gauge", ("lineage",), "Share of real rows in the pool of the latest generation, counted"
)
TRAIN_LOSS = Metric("collapse_train_loss", "gauge", ("lineage",), "Training loss per sample, in nats")
VALUE = Metric(
    "collapse_metric", "gauge", ("lineage", "metric"), "Each metric of the latest generation but its standard errors"
)

# Work: summed over the lineages of a process ------------------------------------------------------

SAMPLES = Metric(
    "collapse_samples", "counter", ("stage",), "Rows trained on, samples generated, held-out rows evaluated"
)
TOKENS = Metric("collapse_tokens", "counter", ("stage",), "The same in tokens, where samples are made of them")
TRAIN_SECONDS = Metric("collapse_train_seconds", "counter", (), "Time in training steps, on rank 0, in s")
DATA_WAIT_SECONDS = Metric(
    "collapse_data_wait_seconds", "counter", (), "The part of it in which rank 0 waited for rows, in s"
)
REUSED = Metric("collapse_reused_stages", "counter", ("stage",), "Stages that were found published")
SAVED = Metric(
    "collapse_energy_saved_joules", "counter", ("stage",), "What those stages had cost when they were computed, in J"
)

# All lineages of a command: told by its driver ----------------------------------------------------

LINEAGES = Metric("collapse_lineages", "gauge", ("experiment", "state"), "Lineages by state")
VERDICTS = Metric(
    "collapse_verdicts", "gauge", ("experiment", "verdict", "status"), "Lineages by what each verdict says of them"
)
COLLAPSED = Metric(
    "collapse_lineage_collapsed",
    "gauge",
    ("experiment", "lineage", "verdict"),
    "The generation at which a lineage collapsed, or diverged; absent for all others",
)
BUDGET = Metric(
    "collapse_energy_budget_joules", "gauge", ("sweep",), "What a sweep may spend, in J; absent without one"
)

# Energy: told by the ledger of a store ------------------------------------------------------------

JOULES = Metric(
    "collapse_energy_joules",
    "counter",
    ("ledger", "kind", "sweep", "lineage", "stage", "node", "device_kind", "quality"),
    "Durable energy by what it was used for and how it was measured, in J",
)
WATTS = Metric(
    "collapse_power_watts",
    "gauge",
    ("ledger", "kind", "stage", "node", "quality"),
    "Mean power between the last two times that a node told of, in W",
)
UNMEASURED = Metric(
    "collapse_unmeasured_devices",
    "gauge",
    ("ledger", "node", "device_kind"),
    "Devices that could not be read when their node last reported",
)
LAG = Metric(
    "collapse_ledger_lag_seconds", "gauge", ("ledger", "node"), "How far the journal is behind the clock, in s"
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order above."""
