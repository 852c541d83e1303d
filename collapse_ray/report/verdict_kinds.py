"""The definitions of collapse as a table: what each follows for every kind of samples, and its limits."""

import inspect
from typing import get_args

from rich import box
from rich.table import Table
from rich.text import Text

from collapse_ray.config.payload import PayloadKind
from collapse_ray.search.verdict import Signal, VerdictSpec


def verdicts_table() -> Table:
    """All definitions by their number; below each, a row for every kind of samples that it can be decided for."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", justify="right")
    table.add_column("kind / samples", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for name in ("tolerance", "threshold"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    specs = [VerdictSpec.of_kind(kind) for kind in VerdictSpec.kinds()]
    for spec in sorted(specs, key=lambda spec: spec.definition):
        verdict = spec()
        summary = (inspect.getdoc(spec) or "").partition("\n")[0]
        table.add_row(str(spec.definition), Text(verdict.kind, "bold"), "", "", "", Text(summary, "bold"))
        for payload in get_args(PayloadKind):
            signal = verdict.signal(payload)
            if signal is not None:
                meaning = " ".join((spec.model_fields[payload].description or "").split())
                table.add_row("", f"  {payload}", signal.metric, *_limits(signal), Text(meaning))
        table.add_section()
    return table


def _limits(signal: Signal) -> tuple[str, str]:
    """Tolerance and threshold as changes since generation 1: a signed difference, or a factor."""
    tolerance, threshold = (signal.change(limit) for limit in signal.limits)
    form = "\N{MULTIPLICATION SIGN} {:.3g}" if signal.scale == "ratio" else "{:+.3g}"
    return form.format(tolerance), form.format(threshold)
