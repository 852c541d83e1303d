"""`collapse run` with a Ray worker, as a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_command import Command

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ENDLESS = """
source: digits
family: {kind: vae, latent_size: 2, hidden: [4]}
regime: replace
depth: 2
train: {steps: 10000000, batch_size: 64}
run: {store: store, workers: 1}
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "collapse_ray.cli.main", "run", *arguments]


def shards(store: Path) -> dict[str, bytes]:
    paths = sorted((store / "artifacts").rglob("shard-*.parquet"))
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def test_a_worker_uses_the_store_beside_the_driver_and_its_log_is_shown(here: Path, collapse: Command) -> None:
    collapse("run", "g.yaml", "run.store=plain")
    first = subprocess.run(command("g.yaml", "run.workers=1"), capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    whole = shards(here / "store")
    assert whole == shards(here / "plain")
    (made,) = (path for path in (here / "store").rglob("shard-*.parquet") if b"synthetic" in path.read_bytes())
    made.write_bytes(made.read_bytes()[:-1])
    again = subprocess.run(command("g.yaml", "run.workers=1"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"warning: set aside artifacts/samples/{made.parent.name}: the file {made.name} has" in again.stdout
    assert shards(here / "store") == whole


def test_ctrl_c_ends_the_workers_with_a_word(here: Path) -> None:
    (here / "endless.yaml").write_text(ENDLESS)
    with subprocess.Popen(
        command("endless.yaml"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("endless seed 0  generation 1  train"):
                break
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("interrupted: what is published stays; the same command resumes from there\n")
    assert [path for path in (here / "store" / "artifacts" / "model").rglob("*") if path.is_file()] == []
