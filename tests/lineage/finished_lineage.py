"""A lineage that other tests find finished, and what its store tells of it."""

from pathlib import Path

from plain_lineages import gaussian

from collapse_ray.artifact.record import Record

LINEAGE = gaussian(depth=3)
STAGES = [
    *(("train", 1), ("evaluate", 1), ("generate", 1)),
    *(("train", 2), ("evaluate", 2), ("generate", 2)),
    *(("train", 3), ("evaluate", 3)),
]


def changed(store: Path) -> dict[str, int]:
    """When each file of an artifact was last written."""
    return {str(path): path.stat().st_mtime_ns for path in (store / "artifacts").rglob("*") if path.is_file()}


def role(found: Record) -> str:
    generation = found.identity.get("generation")
    return f"real {found.identity['part']}" if generation is None else f"{found.kind} {generation}"
