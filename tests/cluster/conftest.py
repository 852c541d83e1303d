"""One small Ray for all cluster tests of a session."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from stores import SPEC

from collapse_ray.lineage.spec import LineageSpec, load_experiment


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Four CPUs on paper: three workers and one for read tasks fit on any machine.

    With the dashboard, which Ray's State API needs.
    """
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=True,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _system_config={"metrics_report_interval_ms": 1000},  # else 10 s
    )
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
