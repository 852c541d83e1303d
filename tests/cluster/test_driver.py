"""The `collapse run` process itself is killed: the same command ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from stores import metrics, records, shards

from collapse_ray.artifact.record import Kind

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KINDS: tuple[Kind, ...] = ("model", "samples", "evaluation")

DIE_BEFORE_REPORT = textwrap.dedent(
    """
    import os, signal, sys
    from collapse_ray.cli.main import main
    from collapse_ray.train import worker

    def die(self, metrics):
        if metrics["generation"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    worker._Reporting.report = die
    main()
    """
)


def collapse(spec: Path, store: Path, *overrides: str) -> list[str]:
    return [str(spec), f"run.store={store}", "run.cpus_per_worker=0.5", *overrides]


def test_killed_between_publish_and_report(spec_file: Path, tmp_path: Path) -> None:
    """In local mode the driver runs the loop, so it can die at exactly that point."""
    killed = ["run", *collapse(spec_file, tmp_path / "killed", "run.workers=0")]
    peace = ["run", *collapse(spec_file, tmp_path / "peace", "run.workers=0")]
    died = subprocess.run([sys.executable, "-c", DIE_BEFORE_REPORT, *killed], check=False)
    assert died.returncode == -signal.SIGKILL
    before = {kind: records(tmp_path / "killed", kind) for kind in KINDS}
    assert len(before["evaluation"]) == 2
    for arguments in (killed, peace):
        subprocess.run([sys.executable, "-m", "collapse_ray.cli.main", *arguments], check=True)
    after = {kind: records(tmp_path / "killed", kind) for kind in KINDS}
    for kind, published in before.items():
        assert {key: after[kind][key].created_at for key in published} == {
            key: record.created_at for key, record in published.items()
        }
    assert shards(tmp_path / "killed") == shards(tmp_path / "peace")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "peace")


def test_killed_with_workers(spec_file: Path, tmp_path: Path) -> None:
    """SIGKILL of the driver of two workers, once generation 1 is published; then the same command."""
    store = tmp_path / "store"
    command = [sys.executable, "-m", "collapse_ray.cli.main", "run", *collapse(spec_file, store, "run.workers=2")]
    driver = subprocess.Popen(command)
    deadline = time.monotonic() + 240
    while not records(store, "evaluation"):
        assert time.monotonic() < deadline, "generation 1 was not published in time"
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    first = records(store, "model")
    subprocess.run(command, check=True)
    assert {key: records(store, "model")[key].created_at for key in first} == {
        key: record.created_at for key, record in first.items()
    }
    assert len(records(store, "evaluation")) == 3
