"""A small lineage, and what two stores of it must have in common."""

from pathlib import Path

from collapse_ray.artifact.record import Record

SPEC = """
source: digits
family: {kind: vae, latent_size: 4, hidden: [8]}
regime: {kind: augment_latest, num_real: 512, num_synthetic: 6000}
depth: 3
train: {steps: 60, batch_size: 36, precision: bf16}
generate: {block_size: 32}
evaluate: {num_samples: 64, metrics: [real_test_loss, variance_ratio, precision_recall]}
"""


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
