"""cluster/slurm.sbatch from its first line to its last, with stand-ins for Slurm and Ray that keep a log."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy_files import CLUSTER, SLURM

NODES = ["node1", "node2", "node3"]

# Runs the step's command once for each node, and hands a signal on to all of them.
SRUN = """#!/usr/bin/env bash
echo "srun $*" >> "$STATE/log"
while [[ $1 == --* ]]; do shift; done
for node in $NODES; do SLURMD_NODENAME=$node "$@" & done
trap 'kill -TERM $(jobs -p)' TERM
while [[ -n $(jobs -pr) ]]; do wait; done
"""

# A node is a file in $STATE/nodes, the job is its process. A job that was asked to stop ends well, as for Ray's client.
RAY = """#!/usr/bin/env bash
[[ -z $RAY_ADDRESS ]] || exit 1
case "$1 $2" in
  "start --block")
    echo "$SLURMD_NODENAME $*" >> "$STATE/log"
    [[ $SLURMD_NODENAME == "$ABSENT" ]] && exit 1
    stat -c %a "$RAY_AUTH_TOKEN_PATH" > "$STATE/token_mode"
    echo "$RAY_AUTH_MODE $(wc -c < "$RAY_AUTH_TOKEN_PATH")" > "$STATE/token"
    trap 'rm "$STATE/nodes/$SLURMD_NODENAME"; exit 1' TERM
    touch "$STATE/nodes/$SLURMD_NODENAME"
    while true; do /bin/sleep 0.05; done ;;
  health-check*) [[ -e $STATE/nodes/node1 ]] ;;
  "list nodes")
    sep='['
    for node in "$STATE"/nodes/*; do [[ -e $node ]] && { printf '%s{}' "$sep"; sep=','; }; done
    echo ']' ;;
  "job submit")
    echo "$*" >> "$STATE/log"
    while [[ $1 != -- ]]; do shift; done
    "${@:2}" & pid=$!
    echo "$pid" > "$STATE/job"
    wait "$pid" || [[ -e $STATE/stopped ]] || exit 1 ;;
  "job stop")
    echo "$*" >> "$STATE/log"
    touch "$STATE/stopped"
    kill -TERM "$(cat "$STATE/job")"
    while kill -0 "$(cat "$STATE/job")" 2>/dev/null; do /bin/sleep 0.05; done ;;
esac
"""
STANDINS = {
    "srun": SRUN,
    "ray": RAY,
    "scontrol": '#!/usr/bin/env bash\necho "scontrol $*" >> "$STATE/log"\n',
    "hostname": "#!/usr/bin/env bash\necho node1\n",
    "getent": '#!/usr/bin/env bash\necho "$ADDRESS STREAM node1"\n',
    "sleep": "#!/usr/bin/env bash\nexec /bin/sleep 0.05\n",
    "python": f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n',
}


class Allocation:
    """Nodes of a Slurm job, and the checkout that it was submitted from."""

    def __init__(self, folder: Path) -> None:
        self.state, self.home, self.checkout = folder / "state", folder / "home", folder / "checkout"
        (self.state / "nodes").mkdir(parents=True)
        self.home.mkdir()
        shutil.copytree(CLUSTER, self.checkout / "cluster")
        programs = self.checkout / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, text in STANDINS.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    def start(self, *command: str, **variables: str) -> "subprocess.Popen[str]":
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "STATE": str(self.state),
            "NODES": " ".join(NODES),
            "ADDRESS": "10.0.0.1",
            "SLURM_SUBMIT_DIR": str(self.checkout),
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": str(len(NODES)),
            "SLURM_CPUS_ON_NODE": "8",
            "SLURMD_NODENAME": "node1",
            "RAY_ADDRESS": "10.0.0.2:6379",  # of another cluster, from the shell that submitted
            **variables,
        }
        return subprocess.Popen(
            ["bash", str(self.checkout / "cluster" / SLURM.name), *command],
            env=environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, **variables: str) -> tuple[int, str]:
        job = self.start(*command, **variables)
        output, _ = job.communicate(timeout=60)
        return job.returncode, output

    def log(self) -> list[str]:
        log = self.state / "log"
        return log.read_text().splitlines() if log.exists() else []

    def assert_nothing_is_left(self) -> None:
        assert list((self.state / "nodes").iterdir()) == []
        assert list((self.home / ".ray").iterdir()) == []


@pytest.fixture
def allocation(tmp_path: Path) -> Allocation:
    return Allocation(tmp_path)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_job_runs_on_all_nodes_and_leaves_none(allocation: Allocation) -> None:
    status, output = allocation.run("bash", "-c", 'ls "$STATE/nodes" | wc -l > "$STATE/seen"; echo "$0"', "an argument")
    assert (status, output.splitlines()[-1]) == (0, "an argument")
    assert int((allocation.state / "seen").read_text()) == len(NODES)
    starts = {line.split()[0]: line for line in allocation.log() if " start --block" in line}
    assert set(starts) == set(NODES)
    assert all("--num-cpus=8" in start for start in starts.values())
    assert "--head" in starts["node1"]
    assert "--dashboard-host=127.0.0.1" in starts["node1"]
    assert all("--address=10.0.0.1:6379" in starts[node] for node in NODES[1:])
    assert all("--head" not in starts[node] for node in NODES[1:])
    assert not any("scontrol" in line for line in allocation.log())
    allocation.assert_nothing_is_left()


@pytest.mark.slow
def test_the_token_is_secret_and_required(allocation: Allocation) -> None:
    allocation.run("true")
    assert (allocation.state / "token_mode").read_text().strip() == "600"
    mode, length = (allocation.state / "token").read_text().split()
    assert mode == "token"
    assert int(length) == 64
    assert (allocation.home / ".ray").stat().st_mode & 0o777 == 0o700
    assert not any("AUTH_TOKEN" in line for line in allocation.log())  # no command line shows it


@pytest.mark.slow
def test_a_failed_command_fails_the_job(allocation: Allocation) -> None:
    status, _ = allocation.run("false")
    assert status == 1
    allocation.assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_signal_stops_the_command_first(allocation: Allocation, number: signal.Signals, requeued: bool) -> None:
    """SIGUSR1 comes before the time limit (--signal), SIGTERM from whoever ends the job."""
    stopping = (
        'trap "ls $STATE/nodes | wc -l > $STATE/seen; exit 0" TERM; touch $STATE/running; while true; do sleep 1; done'
    )
    job = allocation.start("bash", "-c", stopping)
    until((allocation.state / "running").exists)
    job.send_signal(number)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 143, output
    assert int((allocation.state / "seen").read_text()) == len(NODES)  # the cluster was there until the command ended
    assert ("scontrol requeue 4711" in allocation.log()) == requeued
    allocation.assert_nothing_is_left()


@pytest.mark.slow
def test_each_restart_is_a_submission_of_its_own(allocation: Allocation) -> None:
    allocation.run("true")
    allocation.run("true", SLURM_RESTART_COUNT="1")
    submitted = [line for line in allocation.log() if line.startswith("job submit")]
    assert ["--submission-id=slurm-4711-0" in submitted[0], "--submission-id=slurm-4711-1" in submitted[1]] == [
        True,
        True,
    ]
    assert all("--working-dir=. -- true" in line for line in submitted)


def test_a_cluster_that_is_not_whole_is_given_up(allocation: Allocation) -> None:
    sitting = allocation.run("true", ABSENT="node1", NODES="node1")
    assert sitting[0] == 1
    assert "Ray did not start on all 3 nodes" in sitting[1]
    assert not any("job submit" in line for line in allocation.log())
    allocation.assert_nothing_is_left()


def test_an_address_that_others_cannot_reach_is_refused(allocation: Allocation) -> None:
    status, output = allocation.run("true", ADDRESS="127.0.1.1")
    assert status == 1
    assert "set head_ip" in output
    assert allocation.log() == []
    allocation.assert_nothing_is_left()


def test_a_command_must_be_given(allocation: Allocation) -> None:
    status, output = allocation.run()
    assert status == 2
    assert "give the command" in output
    assert allocation.log() == []


def test_options_are_those_that_the_script_needs() -> None:
    options = [line.split()[1] for line in SLURM.read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"--requeue", "--signal=B:USR1@180", "--ntasks-per-node=1", "--exclusive", "--open-mode=append"} <= set(
        options
    )
