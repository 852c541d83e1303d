"""Alert rules for Prometheus, over the same metrics as the dashboards."""

from dataclasses import dataclass
from typing import Any

from collapse_ray.monitoring import metrics
from collapse_ray.monitoring.queries import newest, rate, total

BUDGET_FRACTION = 0.9
LAG_S = 120
"""A ledger writes every ten seconds, and ends a minute after the last job: less is no fault."""
WAIT_FRACTION = 0.5


@dataclass(frozen=True)
class Alert:
    """One rule; the description says what to do."""

    name: str
    expr: str
    lasting: str
    """How long it must hold, as Prometheus writes it."""
    severity: str
    summary: str
    description: str

    def to_json(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def _joules_of_sweeps(quality: str) -> str:
    return total(metrics.JOULES, ("sweep",), 'sweep!=""', f'quality=~"{quality}"', choose=False)


_COLLAPSED = newest(metrics.COLLAPSED, choose=False)
_FAILED = newest(metrics.LINEAGES, 'state="failed"', choose=False)
_SPENT = f"({_joules_of_sweeps('counter|integrated')} or {_joules_of_sweeps('estimated')})"
"""Measured joules; where there are none, the estimated ones: as the ledger counts them against a budget."""
_MAY_SPEND = f"max by (sweep) ({metrics.BUDGET.series})"
_UNMEASURED = newest(metrics.UNMEASURED, choose=False)
_LAG = newest(metrics.LAG, choose=False)
_WAIT = f"{rate(metrics.DATA_WAIT_SECONDS, window='5m')} / {rate(metrics.TRAIN_SECONDS, window='5m')}"
_USED = 'sum by (Name) (ray_resources{Name=~"CPU|GPU", State="USED"})'
_AT_WORK = f'sum ({metrics.LINEAGES.series}{{state=~"waiting|running"}}) > 0'
_LATELY = f"count (last_over_time({metrics.LINEAGES.series}[1d]))"

ALERTS = (
    Alert(
        "CollapseLineageCollapsed",
        f"{_COLLAPSED} > 0",
        "0s",
        "info",
        "{{ $labels.lineage }} has collapsed: {{ $labels.verdict }}",
        "At generation {{ $value }}. `collapse report STORE` shows its metrics. Where collapse is what an experiment "
        "is about, silence the alert by the label `experiment`.",
    ),
    Alert(
        "CollapseLineageFailed",
        f"{_FAILED} > 0",
        "0s",
        "warning",
        "{{ $value }} lineages of {{ $labels.experiment }} failed",
        "They were given up on, which says nothing about their health. The command prints why; given again, it resumes "
        "them.",
    ),
    Alert(
        "CollapseEnergyBudget",
        f"{_SPENT} > on (sweep) {BUDGET_FRACTION} * {_MAY_SPEND}",
        "0s",
        "warning",
        "{{ $labels.sweep }} has spent nine tenths of its energy budget",
        "{{ $value | humanize }} J so far. At the budget the sweep ends by itself; what is published stays, and the "
        "same command with a larger `budget.joules` goes on.",
    ),
    Alert(
        "CollapseDeviceUnmeasured",
        f"{_UNMEASURED} > 0",
        "1m",
        "warning",
        "{{ $value }} devices ({{ $labels.device_kind }}) of {{ $labels.node }} cannot be read",
        "Their joules are missing from the ledger, and are not 0. Look at the node's driver and at the rights on its "
        "sensors; `collapse ledger STORE --by node,device,quality` shows since when.",
    ),
    Alert(
        "CollapseLedgerLag",
        f"{_LAG} > {LAG_S}",
        "1m",
        "warning",
        "The energy ledger is {{ $value | humanizeDuration }} behind on {{ $labels.node }}",
        "Nothing is lost as long as the node lives: its meter keeps what the ledger has not written. Look at whether "
        "the store can be written, and at the actors `collapse-ledger-…` and `collapse-meter-…` in Ray's dashboard.",
    ),
    Alert(
        "CollapseLeakedResources",
        f"({_USED} > 0 unless on () ({_AT_WORK})) and on () {_LATELY}",
        "10m",
        "warning",
        "{{ $value }} {{ $labels.Name }} are in use though no lineage runs",
        "Another job may use them. Otherwise a placement group was left behind: `ray list placement-groups` names it, "
        "and it goes with its job.",
    ),
    Alert(
        "CollapseDataWait",
        f"{_WAIT} > {WAIT_FRACTION}",
        "10m",
        "info",
        "Training waits for its rows in more than half of its time",
        "Give Ray Data more CPUs (`run.data_cpus`), or put the store closer to the workers.",
    ),
)


def rules() -> dict[str, Any]:
    """The rule file."""
    return {"groups": [{"name": "collapse-ray", "rules": [alert.to_json() for alert in ALERTS]}]}
