"""PromQL over our metrics, with what must be known of their processes built in; see `monitoring.metrics`."""

from collapse_ray.monitoring.metrics import JOULES, Metric

OURS = {"lineage", "experiment", "ledger"}
"""Labels that a dashboard selects by a variable of their name."""


def selected(metric: Metric, *matchers: str) -> str:
    """The series of a metric that a dashboard's variables choose."""
    chosen = [f'{label}=~"${label}"' for label in metric.labels if label in OURS and metric is not JOULES]
    ledger = ['ledger=~"$ledger"'] if metric is JOULES else []  # an account without lineage belongs to no selection
    return _with(metric, *chosen, *ledger, *matchers)


def newest(metric: Metric, *matchers: str, choose: bool = True) -> str:
    """One value for each set of our labels: of a process and the one that replaced it, the larger."""
    series = selected(metric, *matchers) if choose else _with(metric, *matchers)
    return f"max by ({', '.join(metric.labels)}) ({series})"


def total(metric: Metric, by: tuple[str, ...], *matchers: str, choose: bool = True) -> str:
    """The sum of what `newest` gives, by some labels."""
    return f"sum by ({', '.join(by)}) ({newest(metric, *matchers, choose=choose)})"


def rate(metric: Metric, by: tuple[str, ...] = (), window: str = "$__rate_interval") -> str:
    """How fast a counter of many processes rises, per second."""
    return f"sum {_by(by)}(rate({metric.series}[{window}]))"


def counted(metric: Metric, by: tuple[str, ...]) -> str:
    """A counter of many processes since the cluster came up: Ray keeps those of processes that are gone."""
    return f"sum by ({', '.join(by)}) ({metric.series})"


def _by(labels: tuple[str, ...]) -> str:
    return f"by ({', '.join(labels)}) " if labels else ""


def any_of(*names: str) -> str:
    """A regular expression for names."""
    return "|".join(names)


def _with(metric: Metric, *matchers: str) -> str:
    return f"{metric.series}{{{', '.join(matchers)}}}" if matchers else metric.series
