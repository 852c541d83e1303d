"""Lineages that a test can run in this process within a second."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.progress import StageEvent
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.train.execution import RunConfig

GAUSSIAN = {
    "source": {"kind": "normal", "num_samples": 50, "dimension": 2},
    "family": "gaussian",
    "regime": "replace",
    "depth": 3,
    "generate": {"block_size": 16},
    "evaluate": {"num_samples": 32},
}


def gaussian(**fields: Any) -> LineageSpec:
    """A lineage of normals on 40 real rows (and 10 held out)."""
    return validate(LineageSpec, {**GAUSSIAN, **fields}, "test")


@dataclass
class Ran:
    """What one run of a lineage did."""

    progress: Progress
    events: list[StageEvent] = field(default_factory=list)

    @property
    def computed(self) -> list[tuple[str, int]]:
        """The stages that were not found published, in the order in which they began."""
        begun = dict.fromkeys((e.stage, e.generation) for e in self.events if not e.reused)
        return list(begun)

    @property
    def metrics(self) -> list[dict[str, float | None]]:
        return [record.metrics for record in self.progress.evaluations]


def run(store: Path, lineage: LineageSpec, **settings: Any) -> Ran:
    """Runs a lineage without Ray."""
    execution = RunConfig(store=str(store), **settings)
    events: list[StageEvent] = []
    tasks = check_all([Experiment("test", (lineage,), execution)], Store(execution.store))
    (progress,) = run_plain(tasks, execution, events.append)
    return Ran(progress, events)


def artifacts(store: Path) -> dict[str, dict[str, bytes]]:
    """`kind/fingerprint` -> name -> content of the files that are still there, records apart."""
    found: dict[str, dict[str, bytes]] = {}
    for record in (store / "artifacts").glob("*/*/record.json"):
        files = (path for path in record.parent.iterdir() if path != record)
        found[f"{record.parent.parent.name}/{record.parent.name}"] = {path.name: path.read_bytes() for path in files}
    return found


def records(store: Path) -> dict[str, Record]:
    """`kind/fingerprint` -> record."""
    return {
        key: Record.from_json((store / "artifacts" / key / "record.json").read_bytes(), key) for key in artifacts(store)
    }
