"""The `collapse sweep` process itself is killed: the same command completes the sweep, as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plain_sweep import run_plain_sweep
from stores import records
from sweeps import KINDS, gaussians, same_results

from collapse_ray.artifact.store import Store
from collapse_ray.search.outcome import read_sweep

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("method", ["grid"])
def test_killed_driver(method: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("killed", "plain")}
    for folder in folders.values():
        folder.mkdir()
    sweep = gaussians(folders["killed"], f"search={method}", depth=12)
    store = Path(sweep.run.store)
    command = [sys.executable, "-m", "collapse_ray.cli.main", "sweep", sweep.where, f"search={method}"]
    command += ["run.cpus_per_worker=0.5", "run.meter.enabled=false"]
    driver = subprocess.Popen(command)
    kill_once(driver, store, evaluations=6)
    document = read_sweep(Store(str(store)), sweep)
    assert document is None or document.outcome.state == "running"
    before = {kind: records(store, kind) for kind in KINDS}
    subprocess.run(command, check=True)
    document = read_sweep(Store(str(store)), sweep)
    assert document is not None
    assert document.outcome.state == "complete"
    run_plain_sweep(gaussians(folders["plain"], f"search={method}", depth=12))
    assert same_results(store, folders["plain"] / "store")
    for kind, published in before.items():
        after = records(store, kind)
        assert {key: after[key].created_at for key in published} == {
            key: record.created_at for key, record in published.items()
        }


def kill_once(driver: "subprocess.Popen[bytes]", store: Path, *, evaluations: int) -> None:
    until_s = time.monotonic() + 400
    while len(records(store, "evaluation")) < evaluations:
        assert time.monotonic() < until_s, f"{evaluations} generations were not published in time"
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
