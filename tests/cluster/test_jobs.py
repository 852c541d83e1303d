"""A head and a worker started by `ray start`, with token authentication: sweeps as jobs, stopped and submitted anew."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ray_commands import BIN, environment_with_token
from stores import records

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.check import check
from collapse_ray.search.outcome import read_sweeps

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

SPEC = "jobs/specs/digits_sweep.yaml"
SMALL = [
    "base.family={kind: vae, latent_size: 4, hidden: [8]}",
    "base.train={steps: 60, batch_size: 36, precision: bf16}",
    "base.generate={block_size: 32}",
    "base.evaluate={num_samples: 64, metrics: [real_test_loss, variance_ratio]}",
    "axes={regime: [replace, accumulate]}",
    "profile={verdicts: [collapsing_variance]}",
    "stop=null",
    "seeds=[0]",
    "run.cpus_per_worker=0.5",
]
"""The digits sweep in seconds: a model of two layers, two lineages of one seed."""


@dataclass(frozen=True)
class Nodes:
    """A cluster of two nodes, and the environment of whoever knows its token."""

    address: str
    environment: dict[str, str]

    def ray(self, *arguments: str, token: str | None = None) -> "subprocess.CompletedProcess[str]":
        environment = self.environment if token is None else {**self.environment, "RAY_AUTH_TOKEN": token}
        command = [str(BIN / "ray"), *arguments]
        return subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=False)

    def collapse(self, *arguments: str, token: str | None = None) -> "subprocess.CompletedProcess[str]":
        environment = self.environment if token is None else {**self.environment, "RAY_AUTH_TOKEN": token}
        command = [sys.executable, "-m", "collapse_ray.cli.main", *arguments]
        return subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    port, dashboard = free_port(), free_port()
    environment = {
        **environment_with_token(),
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    }
    folder = tmp_path_factory.mktemp("nodes")
    head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=0", "--include-dashboard=true"]
    head += ["--dashboard-host=127.0.0.1", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    worker = [f"--address=127.0.0.1:{port}", "--num-cpus=4", "--node-ip-address=127.0.0.1"]
    with ExitStack() as running:
        for arguments, name in ((head, "head"), (worker, "worker")):
            own = running.enter_context(TemporaryDirectory(prefix="ray-"))
            running.enter_context(node(apart(own), arguments, environment, folder / f"{name}.log"))
        found = Nodes(f"http://127.0.0.1:{dashboard}", environment)
        until_s = time.monotonic() + 120
        while found.ray("job", "list", "--address", found.address).returncode:
            assert time.monotonic() < until_s, "the dashboard does not answer"
            time.sleep(1)
        yield found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def apart(folder: str) -> list[str]:
    """What a command begins with that has `folder` for Ray's own: two nodes unpack a job's code into the same one.

    Nodes on machines of their own never meet there. Nor does what a killed head leaves: where Ray finds its address,
    whatever asks the State API afterwards waits for a cluster that is gone.
    """
    Path("/tmp/ray").mkdir(exist_ok=True)
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount --bind "$0" /tmp/ray && exec "$@"', folder]
    tried = subprocess.run([*prefix, "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"two Ray nodes on one machine need a mount namespace each: {tried.stderr.strip()}")
    return prefix


@contextmanager
def node(prefix: list[str], arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """One Ray node, in a process group of its own that ends with the block."""
    agent = f"--dashboard-agent-listen-port={free_port()}"
    command = [*prefix, str(BIN / "ray"), "start", "--block", agent, *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        until_s = time.monotonic() + 180
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # asked to end, it takes most of a minute
        process.wait()


def test_a_job_without_the_token_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    for token in ("", secrets.token_hex(32)):
        refused = nodes.ray("job", "submit", "--address", nodes.address, "--", "true", token=token)
        assert refused.returncode
        assert re.search("(?i)authentication|unauthorized|token", refused.stdout + refused.stderr)
        ours = nodes.collapse(
            "submit", SPEC, *SMALL, f"run.store={tmp_path / 'store'}", "--address", nodes.address, token=token
        )
        assert ours.returncode == 2
        assert "token" in ours.stderr.lower()
        assert "Traceback" not in ours.stderr
    assert not (tmp_path / "store").exists()


def test_a_sweep_is_stopped_and_submitted_again(nodes: Nodes, tmp_path: Path) -> None:
    store = tmp_path / "store"
    submit = ["job", "submit", "--address", nodes.address, "--working-dir", ".", "--entrypoint-num-cpus", "0.5"]
    script = ["--", "python", "jobs/sweep.py", SPEC, *SMALL, "depth=4", f"run.store={store}"]
    started = nodes.ray(*submit, "--no-wait", "--submission-id", "first", *script)
    assert started.returncode == 0, started.stdout + started.stderr
    wait_for(lambda: len(records(store, "evaluation")) >= 2, nodes, "first")
    assert nodes.ray("job", "stop", "first", "--address", nodes.address).returncode == 0
    log = nodes.ray("job", "logs", "first", "--address", nodes.address).stdout
    assert "interrupted: what is published stays; the same command resumes from there" in log
    before = {key: record.created_at for key, record in records(store, "model").items()}
    assert before
    assert check(Store(str(store))) == []

    again = nodes.ray(*submit, "--submission-id", "second", *script)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "\r" not in again.stdout
    assert "generation 4 of 4  complete" in again.stdout
    after = {key: record.created_at for key, record in records(store, "model").items()}
    assert len(after) == 7  # generation 1 is shared
    assert {key: after[key] for key in before} == before
    (document,) = read_sweeps(Store(str(store)))
    assert document.outcome.state == "complete"
    assert check(Store(str(store))) == []


def test_collapse_submits_follows_and_stops(nodes: Nodes, tmp_path: Path) -> None:
    asked = ["submit", SPEC, *SMALL, "depth=1", f"run.store={tmp_path / 'store'}", "--address", nodes.address]
    done = nodes.collapse(*asked)
    assert done.returncode == 0, done.stdout + done.stderr
    job = done.stdout.split()[1].rstrip(":")
    assert f"{nodes.address}/#/jobs/{job}" in done.stdout
    assert done.stdout.rstrip().endswith(f"{job} SUCCEEDED")
    assert "results:" in done.stdout
    state = nodes.collapse("job", "status", job, "--address", nodes.address)
    assert f"{job} SUCCEEDED" in state.stdout
    ended = nodes.collapse("job", "stop", job, "--address", nodes.address)
    assert "has ended already" in ended.stdout


def test_a_job_that_fails_says_so(nodes: Nodes, tmp_path: Path) -> None:
    asked = ["job", "submit", "--address", nodes.address, "--working-dir", ".", "--entrypoint-num-cpus", "0.5", "--"]
    failed = nodes.ray(*asked, "python", "jobs/run.py", "no_such.yaml", f"run.store={tmp_path / 'store'}")
    assert failed.returncode
    assert "no_such.yaml" in failed.stdout


def wait_for(condition: object, nodes: Nodes, job: str) -> None:
    assert callable(condition)
    until_s = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until_s, nodes.ray("job", "logs", job, "--address", nodes.address).stdout
        time.sleep(0.5)
