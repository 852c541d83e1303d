"""`collapse ledger record` and the meter's thread, in real time, on fake GPUs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_gpus import Gpu

GPUS = [Gpu(uuid="GPU-a", low=250, sensor="a100"), Gpu(uuid="GPU-b", low=400, sensor="h100", offset=0.06)]

FIELDS = {
    "devices", "total_energy_j", "duration_s", "begin_monotonic_s", "end_monotonic_s", "begin_unix_s", "end_unix_s",
    "labels", "exit_code",
}  # fmt: skip


def environment(fake_nvml: Path, config: Path) -> dict[str, str]:
    config.write_text("".join(gpu.line() for gpu in GPUS))
    return os.environ | {"LD_LIBRARY_PATH": str(fake_nvml.parent), "FAKE_NVML": str(config)}


def collapse(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "collapse_ray.cli.main", "ledger", "record", *arguments]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(collapse(*arguments), capture_output=True, text=True, check=False, env=env)


def last_object(stdout: str) -> dict:
    return json.loads(stdout.splitlines()[-1])


@pytest.mark.slow
def test_record_on_gpus(fake_nvml: Path, tmp_path: Path) -> None:
    script = "printf 'no end of line'; echo aside >&2; sleep 2; exit 7"
    env = environment(fake_nvml, tmp_path / "gpus")
    done = run("--label", "model=vae", "--", "sh", "-c", script, env=env)
    assert done.returncode == 7
    assert done.stdout.startswith("no end of line")
    assert "aside" in done.stderr
    result = last_object(done.stdout)
    assert set(result) == FIELDS
    assert (result["labels"], result["exit_code"]) == ({"model": "vae"}, 7)
    begin_s, end_s = result["begin_monotonic_s"], result["end_monotonic_s"]
    assert result["duration_s"] == pytest.approx(end_s - begin_s)
    assert result["end_unix_s"] - result["begin_unix_s"] == pytest.approx(end_s - begin_s, abs=0.1)
    gpus = {device["uuid"]: device for device in result["devices"] if device["kind"] == "gpu"}
    for gpu in GPUS:
        device = gpus[gpu.uuid]
        # On a machine so busy that no poll comes in time, a tick is lost at each end.
        assert set(device) == {"uuid", "name", "kind", "energy_j", "quality", "gaps"}
        assert device["energy_j"] == pytest.approx(gpu.energy_j(begin_s, end_s), abs=0.2 * gpu.low)
        assert device["quality"] == "counter"


@pytest.mark.slow
def test_nothing_to_measure_is_null(tmp_path: Path) -> None:
    done = run("--no-estimate", "--", "true", env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)})
    result = last_object(done.stdout)
    if result["devices"]:
        pytest.skip("this machine has sensors")
    assert result["total_energy_j"] is None
    assert "NVML error 12" in done.stderr


@pytest.mark.slow
def test_killed_command(tmp_path: Path) -> None:
    done = run("--", "sh", "-c", "kill -9 $$")
    assert done.returncode == 128 + 9
    assert last_object(done.stdout)["exit_code"] == 128 + 9


@pytest.mark.slow
def test_signals_reach_the_command() -> None:
    script = "trap 'echo stopped; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(collapse("--", "sh", "-c", script), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=20)
    assert stdout.startswith("stopped\n")
    assert process.returncode == 5
    assert last_object(stdout)["exit_code"] == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "no-such-command-anywhere"], "no-such-command-anywhere cannot be run"),
        (["--label", "vae", "--", "true"], "--label vae: a label is KEY=VALUE"),
    ],
)
def test_bad_input_is_one_message(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_meter_costs_little_and_windows_nest(fake_nvml: Path, tmp_path: Path) -> None:
    script = """
import json, time
from collapse_ray.energy.meter import Meter
with Meter() as meter:
    with meter.window("outer") as outer:
        with meter.window("inner") as inner:
            time.sleep(1)
        left = time.monotonic() - inner.end_monotonic_s
        time.sleep(0.5)
print(json.dumps({"outer": outer.as_json(), "inner": inner.as_json(), "left": left}))
"""
    env = environment(fake_nvml, tmp_path / "gpus")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    result = json.loads(done.stdout)
    assert result["left"] < 0.05  # leaving a window does not wait for its reads
    for window in (result["outer"], result["inner"]):
        begin_s, end_s = window["begin_monotonic_s"], window["end_monotonic_s"]
        truth_j = sum(gpu.energy_j(begin_s, end_s) for gpu in GPUS)
        gpus_j = sum(device["energy_j"] for device in window["devices"] if device["kind"] == "gpu")
        assert gpus_j == pytest.approx(truth_j, abs=0.2 * sum(gpu.low for gpu in GPUS))
