"""`collapse doctor`: is every node fit for lineages, and what mends those that are not?"""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from collapse_ray.doctor.finding import Finding

NUM_NAMED = 3
"""Nodes that one row of the table names; of more it says how many."""


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to examine (`auto`, `ray://…`). Without it, this machine.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Folder or URI of the store, as given to run.store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Examine every node of a Ray cluster, and say what to mend.

    Versions, GPUs, energy counters, what DeepSpeed compiles, the store, clocks, disks, who may reach the dashboard, and
    an all-reduce between the nodes. Equal findings of several nodes are one row. The exit code is 1 when anything is a
    fault; a warning does not count.

    **Examples**

    `collapse doctor`

    `collapse doctor --address auto --store s3://YOUR_BUCKET/store`
    """
    from rich.console import Console

    from collapse_ray.cli.display import plain_console
    from collapse_ray.doctor.diagnose import diagnose
    from collapse_ray.doctor.finding import Status
    from collapse_ray.doctor.ray_site import connected

    # What libraries print on the way must not end up in the output.
    with (
        contextlib.redirect_stdout(sys.stderr),
        Console(stderr=True).status("examining every node"),
        connected(address, store) as site,
    ):
        nodes = [*(node.name for node in site.nodes), *(failure.node for failure in site.unreachable)]
        found = diagnose(site)
    statuses = [finding.status for findings in found.values() for finding in findings]
    faults = statuses.count(Status.fault)
    if as_json:
        rows = [{"check": check, **asdict(finding)} for check, findings in found.items() for finding in findings]
        typer.echo(json.dumps({"healthy": not faults, "nodes": nodes, "findings": rows}))
    else:
        plain_console().print(_table(found, nodes))
        warnings = statuses.count(Status.warning)
        typer.echo(f"{_count(len(nodes), 'node')}: {_count(faults, 'fault')}, {_count(warnings, 'warning')}")
    raise typer.Exit(1 if faults else 0)


def _table(found: "dict[str, list[Finding]]", nodes: list[str]) -> "Table":
    from rich import box
    from rich.table import Table

    styles = {"fault": "bold red", "warning": "yellow", "ok": None, "not applicable": "dim"}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("check", "node", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", ratio=3, overflow="fold")
    table.add_column("fix", ratio=2, overflow="fold")
    for check, findings in found.items():
        for names, finding in _rows(findings):
            row = (check, _say_nodes(names, nodes), finding.status.value, finding.found, finding.fix)
            table.add_row(*row, style=styles[finding.status])
    return table


def _rows(findings: "list[Finding]") -> "Iterator[tuple[list[str], Finding]]":
    """Equal findings together, with the names of their nodes, the worst first."""
    from collapse_ray.doctor.finding import Status

    groups = dict[tuple[str, str, str], list["Finding"]]()
    for finding in findings:
        groups.setdefault((finding.status, finding.found, finding.fix), []).append(finding)
    order = list(Status)
    for group in sorted(groups.values(), key=lambda group: -order.index(group[0].status)):
        yield [finding.node for finding in group], group[0]


def _say_nodes(names: list[str], nodes: list[str]) -> str:
    if len(nodes) > 1 and set(names) == set(nodes):
        return f"all {len(nodes)} nodes"
    more = f", {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def _count(num: int, what: str) -> str:
    return f"{num} {what}{'' if num == 1 else 's'}"
