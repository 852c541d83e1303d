"""cluster/ray_node.sh and cluster/install.sh, with stand-ins for the programs that they call."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_files import CLUSTER, CONSTRAINTS, SCRIPTS, locked_python

# `ray start --block` as a script sees it: says that it started, and stays until it is asked to end.
RAY = """#!/usr/bin/env bash
echo "$$ $RAY_AUTH_MODE $*" >> "$CALLS"
[[ $* == *--fail* ]] && { echo "no token"; exit 1; }
trap 'echo "$$ ended" >> "$CALLS"; exit 1' TERM
echo "Ray runtime started."
while true; do sleep 0.05; done
"""
UV = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
"""


class Machine:
    """A checkout with the scripts, where `.venv/bin` holds a stand-in for `ray`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        shutil.copytree(CLUSTER, folder / "cluster")
        (folder / "constraints.txt").write_text(CONSTRAINTS)
        program(folder / ".venv" / "bin" / "ray", RAY)

    def run(self, script: str, *args: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "CALLS": str(self.calls), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        command = [str(self.folder / "cluster" / script), *args]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd="/", check=False, timeout=60
        )

    def log(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    @property
    def pid_file(self) -> Path:
        return self.folder / ".ray_node.pid"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def is_alive(pid: int) -> bool:
    """Whether it runs; a process that has ended has no command line, even where nobody collects it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "checkout")
    yield machine
    if machine.pid_file.exists() and is_alive(pid := int(machine.pid_file.read_text())):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_start_outlives_the_connection_and_stop_ends_it(machine: Machine) -> None:
    assert machine.run("ray_node.sh", "start", "--head", "--num-cpus=0").returncode == 0
    pid = int(machine.pid_file.read_text())
    assert is_alive(pid)
    assert os.getsid(pid) == pid  # no hang-up of a terminal reaches it
    assert machine.log() == [f"{pid} token start --block --head --num-cpus=0"]
    assert machine.run("ray_node.sh", "stop").returncode == 0
    assert machine.log()[1:] == [f"{pid} ended"]
    assert not is_alive(pid)
    assert not machine.pid_file.exists()


@pytest.mark.slow
def test_start_again_ends_the_node_before(machine: Machine) -> None:
    machine.run("ray_node.sh", "start", "--head")
    first = int(machine.pid_file.read_text())
    machine.run("ray_node.sh", "start", "--head")
    second = int(machine.pid_file.read_text())
    assert first != second
    assert not is_alive(first)
    assert is_alive(second)


@pytest.mark.slow
def test_stop_leaves_other_rays_alone(machine: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other")
    other.run("ray_node.sh", "start", "--head")
    others = int(other.pid_file.read_text())
    try:
        machine.run("ray_node.sh", "start", "--head")
        machine.run("ray_node.sh", "stop")
        assert is_alive(others)
    finally:
        other.run("ray_node.sh", "stop")
    assert not is_alive(others)


@pytest.mark.slow
def test_stop_spares_a_process_that_got_the_number(machine: Machine) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        machine.pid_file.write_text(f"{stranger.pid}\n")
        assert machine.run("ray_node.sh", "stop").returncode == 0
        time.sleep(0.2)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.slow
def test_a_failed_start_says_why(machine: Machine) -> None:
    done = machine.run("ray_node.sh", "start", "--head", "--fail")
    assert done.returncode == 1
    assert "no token" in done.stderr
    assert not machine.pid_file.exists()


def test_other_words_are_refused(machine: Machine) -> None:
    done = machine.run("ray_node.sh", "restart")
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_install_uses_the_locked_python_and_the_constraints(machine: Machine) -> None:
    program(machine.folder / "bin" / "uv", UV)
    done = machine.run("install.sh", "boto3")
    assert (done.returncode, done.stderr) == (0, "")
    venv, install = machine.log()
    assert f"--python {locked_python()} .venv" in venv
    assert "--constraints constraints.txt" in install
    assert install.endswith(" . boto3")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_planted_error_is_found(script: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sh"
    broken.write_text(script.read_text() + "\nif true; then\n")
    assert subprocess.run(["bash", "-n", str(broken)], capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    command = ["shellcheck", "--external-sources", "--source-path", str(CLUSTER.parent), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
