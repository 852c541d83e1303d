"""One small Ray for all cluster tests of a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from collapse_ray.lineage.spec import LineageSpec, load_experiment

SPEC = """
source: digits
family: {kind: vae, latent_size: 4, hidden: [8]}
regime: {kind: augment_latest, num_real: 512, num_synthetic: 6000}
depth: 3
train: {steps: 60, batch_size: 36, precision: bf16}
generate: {block_size: 32}
evaluate: {num_samples: 64, metrics: [real_test_loss, variance_ratio, precision_recall]}
"""


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Four CPUs on paper: three workers and one for read tasks fit on any machine."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def lineage(spec_file: Path) -> LineageSpec:
    return load_experiment(spec_file, []).lineages[0]
