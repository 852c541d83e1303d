"""One small Ray for all cluster tests of a session."""

import logging
import subprocess
import sys
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


@pytest.fixture(scope="session")
def of_four_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a lineage that four workers of one node ran in peace."""
    folder = tmp_path_factory.mktemp("four")
    (folder / "digits.yaml").write_text(SPEC)
    run = [sys.executable, "-m", "collapse_ray.cli.main", "run", str(folder / "digits.yaml")]
    run += [f"run.store={folder / 'store'}", "run.workers=4", "run.cpus_per_worker=0.5", "run.meter.enabled=false"]
    subprocess.run([*run, "run.window_steps=10", "run.checkpoint_every=20"], check=True)
    return folder / "store"
