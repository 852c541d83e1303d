"""What two stores must have in common."""

from pathlib import Path

from collapse_ray.artifact.record import Record


def records(store: Path, kind: str) -> dict[str, Record]:
    """Fingerprint -> record of all artifacts of a kind."""
    paths = (store / "artifacts" / kind).glob("*/record.json")
    return {path.parent.name: Record.from_json(path.read_text(), str(path)) for path in paths}


def shards(store: Path) -> dict[str, bytes]:
    """Relative path -> content of every shard, real and synthetic."""
    root = store / "artifacts" / "samples"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*/shard-*.parquet"))}


def metrics(store: Path) -> dict[str, dict[str, float | None]]:
    """Fingerprint -> metrics of every evaluation."""
    return {fingerprint: record.metrics for fingerprint, record in records(store, "evaluation").items()}
