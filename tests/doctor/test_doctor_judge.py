"""Every planted fault is found, named, and comes with its fix; what is well is not a fault."""

from dataclasses import replace
from typing import Any

import pytest

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.checks import (
    access,
    clock,
    disk,
    energy,
    gpus,
    network,
    operators,
    store,
    versions,
)
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.energy.clock import Offset

GIB = 2**30
VERSIONS = {"Python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0+cpu"}
GPUS = gpus.Gpus(ray=4, sensors=4, torch=4, build="CUDA 13.0")
SENSORS = energy.Sensors(
    num_gpus=1,
    devices=(energy.Sensor("H200", "gpu", "counter"), energy.Sensor("package-0", "cpu", "counter")),
    absences=(),
)
ESTIMATED = energy.Sensors(num_gpus=0, devices=(energy.Sensor("CPU", "cpu", "estimated"),), absences=("no RAPL",))
TOOLS = operators.Toolchain(
    built=False, ninja="/bin/ninja", compiler="c++", python_error=None, aio_error=None, uses_cuda=False, nvcc=None
)
DISKS = disk.Disks(
    ray=disk.Space("/tmp/ray", 100 * GIB, 50 * GIB),
    ray_full_fraction=0.95,
    store=disk.Space("/shared/store", 100 * GIB, 50 * GIB),
    shared_memory=disk.Space("/dev/shm", 16 * GIB, 16 * GIB),
    object_store_bytes=16 * GIB,
)
HEAD = access.Head(8265, ("127.0.0.1",), dashboard_answers=False, gcs_hosts=("0.0.0.0",))
ACCESS = access.Facts("head", HEAD, {"head": True, "b": True}, token_files={}, is_temporary=False)
STORE = store.Facts("/shared/store", None, {"a": store.Seen(True), "b": store.Seen(True)}, frozenset({"a", "b"}))
REDUCED = network.Exchange("gloo", 10**7, {"a": network.Reduced(0.01), "b": network.Reduced(0.02)}, num_ranks=2)


def findings(check: Check[Any], facts: object) -> list[Finding]:
    return list(check.judge(facts))


def worst(check: Check[Any], facts: object) -> Status:
    return max((finding.status for finding in findings(check, facts)), key=list(Status).index)


def only(check: Check[Any], facts: object, status: Status) -> Finding:
    """The one finding of something wrong, which comes with a fix."""
    (found,) = (finding for finding in findings(check, facts) if finding.status not in (Status.ok, "not applicable"))
    assert found.status is status
    assert found.fix
    return found


def test_versions_equal_but_for_the_local_part() -> None:
    facts = versions.Facts(VERSIONS, {"a": VERSIONS, "b": {**VERSIONS, "torch": "2.13.0+cu130"}})
    assert worst(versions.Examination(), facts) is Status.ok


@pytest.mark.parametrize(("name", "other"), [("Python", "3.11.8"), ("ray", "2.59.0"), ("torch", versions.ABSENT)])
def test_another_version_on_one_node(name: str, other: str) -> None:
    facts = versions.Facts(VERSIONS, {"a": VERSIONS, "b": {**VERSIONS, name: other}})
    found = only(versions.Examination(), facts, Status.fault)
    assert found.node == "b"
    assert f"{name} {other} (the driver has {VERSIONS[name]})" in found.found
    assert "constraints.txt" in found.fix


@pytest.mark.parametrize(
    ("seen", "status", "words", "fix"),
    [
        (GPUS, Status.ok, "Ray 4, NVML 4, torch 4", ""),
        (gpus.Gpus(0, 0, 0, "CPU"), Status.not_applicable, "no GPU", ""),
        (replace(GPUS, sensors=0, absence="NVML error 12"), Status.fault, "NVML is missing", "libnvidia-ml.so.1"),
        (replace(GPUS, torch=0, build="CPU"), Status.fault, "torch (CPU build)", "torch's CUDA build"),
        (replace(GPUS, torch=0, complaint="driver is too old"), Status.fault, "driver is too old", "NVIDIA driver"),
        (replace(GPUS, ray=2), Status.warning, "workers never get the others", "--num-gpus=4"),
        (replace(GPUS, ray=0), Status.warning, "workers never get the others", "--num-gpus=4"),
        (replace(GPUS, sensors=2), Status.warning, "NVML 2, torch 4", "MIG"),
        (replace(GPUS, sensors=8, visible="0,1,2,3"), Status.ok, "NVML 8, torch 4", ""),
    ],
)
def test_gpus(seen: gpus.Gpus, status: Status, words: str, fix: str) -> None:
    (found,) = findings(gpus.Examination(), {"a": seen})
    assert found.status is status
    assert words in found.found
    assert fix in found.fix


def test_meters_read_counters() -> None:
    assert worst(energy.Examination(), {"a": SENSORS}) is Status.ok


def test_estimated_cpus_are_a_warning() -> None:
    found = only(energy.Examination(), {"a": ESTIMATED}, Status.warning)
    assert "cpu: estimated" in found.found
    assert "run.meter.tdp_w" in found.fix


def test_nvml_missing_on_a_gpu_node() -> None:
    facts = {"a": SENSORS, "b": replace(SENSORS, devices=SENSORS.devices[1:], absences=("NVML error 12",))}
    found = only(energy.Examination(), facts, Status.fault)
    assert found.node == "b"
    assert "NVML error 12" in found.found
    assert "libnvidia-ml.so.1" in found.fix


def test_a_gpu_that_cannot_be_read() -> None:
    broken = replace(SENSORS, devices=(energy.Sensor("H200", "gpu", "unmeasured", "lost"), SENSORS.devices[1]))
    assert "H200 cannot be read: lost" in only(energy.Examination(), {"a": broken}, Status.fault).found


def test_rapl_without_permission_says_how_to_give_it() -> None:
    closed = energy.Sensor("package-0", "cpu", "unmeasured", "no permission to read it")
    facts = {"a": replace(ESTIMATED, devices=(closed, *ESTIMATED.devices))}
    assert "chmod o+r /sys/class/powercap" in only(energy.Examination(), facts, Status.warning).fix


@pytest.mark.parametrize(
    ("tools", "status", "words", "fix"),
    [
        (TOOLS, Status.ok, "can be compiled with c++", ""),
        (replace(TOOLS, ninja=None, built=True), Status.ok, "compiled already", ""),
        (replace(TOOLS, uses_cuda=True, nvcc="/bin/nvcc"), Status.ok, "can be compiled", ""),
        (replace(TOOLS, python_error="'c++' is not on the PATH"), Status.fault, "'c++' is not on the PATH", "g++"),
        (replace(TOOLS, ninja=None), Status.fault, "no ninja", "pip install ninja"),
        (replace(TOOLS, aio_error="libaio.h: No such file"), Status.warning, "libaio.h", "libaio-dev"),
        (replace(TOOLS, uses_cuda=True), Status.warning, "no nvcc", "CUDA_HOME"),
    ],
)
def test_operators(tools: operators.Toolchain, status: Status, words: str, fix: str) -> None:
    (found,) = findings(operators.Examination(), {"a": tools})
    assert found.status is status
    assert words in found.found
    assert fix in found.fix


def test_one_store_for_all() -> None:
    assert worst(store.Examination(), STORE) is Status.ok


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(STORE, nodes={**STORE.nodes, "b": store.Seen(False)}), "another store here"),
        (replace(STORE, returned=frozenset({"a"})), "the driver does not find what this node wrote"),
        (replace(STORE, nodes={**STORE.nodes, "b": store.Seen(False, "Permission denied")}), "Permission denied"),
    ],
)
def test_a_store_that_one_node_does_not_share(facts: store.Facts, words: str) -> None:
    found = only(store.Examination(), facts, Status.fault)
    assert found.node == "b"
    assert words in found.found
    assert "mount one file system" in found.fix


def test_no_store_was_given() -> None:
    assert worst(store.Examination(), store.Facts(None, None, {}, frozenset())) is Status.not_applicable


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "status"),
    [
        (0.02, 0.001, Status.ok),
        (-0.9, 0.05, Status.ok),
        (0.9, 0.2, Status.warning),
        (1.1, 0.2, Status.warning),
        (2.0, 0.001, Status.fault),
        (-30.0, 0.5, Status.fault),
    ],
)
def test_a_clock_that_is_off(offset_s: float, uncertainty_s: float, status: Status) -> None:
    (found,) = findings(clock.Examination(), {"a": Offset(offset_s, uncertainty_s)})
    assert found.status is status
    assert ("behind" if offset_s < 0 else "ahead of") in found.found
    assert ("timedatectl" in found.fix) == (status is not Status.ok)


@pytest.mark.parametrize(
    ("disks", "status", "words", "fix"),
    [
        (DISKS, Status.ok, "/shared/store 50.0 GiB", ""),
        (replace(DISKS, store=None), Status.ok, "/tmp/ray 50.0 GiB", ""),
        (replace(DISKS, ray=replace(DISKS.ray, free_bytes=4 * GIB)), Status.fault, "Ray's folder is full", "temp-dir"),
        (replace(DISKS, ray=replace(DISKS.ray, free_bytes=8 * GIB)), Status.warning, "nearly full", "temp-dir"),
        (replace(DISKS, store=disk.Space("/s", GIB, 0)), Status.fault, "of the store is full: /s has 0 MiB", "keep"),
        (replace(DISKS, store=disk.Space("/s", 9**12, 2 * GIB)), Status.warning, "nearly full: /s", "run.keep"),
        (replace(DISKS, shared_memory=disk.Space("/dev/shm", 2**26, 2**26)), Status.fault, "64 MiB", "--shm-size"),
        (replace(DISKS, shared_memory=disk.Space("/dev/shm", GIB, GIB)), Status.warning, "on disk", "--shm-size"),
        (replace(DISKS, shared_memory=None), Status.fault, "no /dev/shm", "--shm-size"),
    ],
)
def test_space(disks: disk.Disks, status: Status, words: str, fix: str) -> None:
    (found,) = findings(disk.Examination(), {"a": disks})
    assert found.status is status
    assert words in found.found
    assert fix in found.fix


def test_a_closed_dashboard() -> None:
    assert worst(access.Examination(), ACCESS) is Status.ok


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7"])
def test_an_open_dashboard(host: str) -> None:
    head = replace(HEAD, dashboard_hosts=(host,), dashboard_answers=True)
    facts = replace(ACCESS, head=head, token_auth={"head": False})
    found = only(access.Examination(), facts, Status.fault)
    assert f"{host}:8265 runs code for anyone" in found.found
    assert "RAY_AUTH_MODE=token" in found.fix
    assert "--dashboard-host=127.0.0.1" in found.fix


def test_a_dashboard_on_the_network_that_asks_for_the_token() -> None:
    assert worst(access.Examination(), replace(ACCESS, head=replace(HEAD, dashboard_hosts=("0.0.0.0",)))) is Status.ok


def test_a_closed_dashboard_beside_an_open_control_port() -> None:
    facts = replace(ACCESS, token_auth={"head": False, "b": False}, head=replace(HEAD, dashboard_answers=True))
    head, other = sorted(findings(access.Examination(), facts), key=lambda found: found.node != "head")
    assert (head.status, other.status) == (Status.warning, Status.warning)
    assert "control port on 0.0.0.0" in head.found
    assert "RAY_AUTH_MODE=token" in other.fix


def test_everything_on_loopback_needs_no_token() -> None:
    head = replace(HEAD, dashboard_answers=True, gcs_hosts=("127.0.0.1",))
    assert worst(access.Examination(), replace(ACCESS, head=head, token_auth={"head": False})) is Status.ok


def test_no_dashboard() -> None:
    head = replace(HEAD, dashboard_port=None, dashboard_hosts=())
    found = findings(access.Examination(), replace(ACCESS, head=head))
    assert [one.fix for one in found if one.status is Status.warning] == [
        "ray start --head --include-dashboard=true (on 127.0.0.1, Ray's default)"
    ]
    assert worst(access.Examination(), replace(ACCESS, head=head, is_temporary=True)) is Status.ok


def test_a_token_that_others_may_read() -> None:
    facts = replace(ACCESS, token_files={"b": "/home/ray/.ray/auth_token"})
    assert only(access.Examination(), facts, Status.warning).fix == "chmod 600 /home/ray/.ray/auth_token"


def test_bandwidth_is_that_of_the_slowest_rank() -> None:
    """Two ranks: each sends and receives the whole once, 2 (n - 1) / n = 1."""
    assert REDUCED.bytes_per_s == pytest.approx(10**7 / 0.02)
    assert replace(REDUCED, num_ranks=4).bytes_per_s == pytest.approx(1.5 * 10**7 / 0.02)
    assert {one.status for one in findings(network.Examination(), [REDUCED])} == {Status.ok}


def test_a_slow_network() -> None:
    slow = replace(REDUCED, nodes={"a": network.Reduced(1.0), "b": network.Reduced(1.0)})
    assert worst(network.Examination(), [slow]) is Status.warning


def test_an_all_reduce_that_fails() -> None:
    broken = replace(REDUCED, nodes={**REDUCED.nodes, "b": network.Reduced(error="Connection refused")})
    found = only(network.Examination(), [broken], Status.fault)
    assert found.node == "b"
    assert "over gloo failed: Connection refused" in found.found
    assert "GLOO_SOCKET_IFNAME" in found.fix


def test_one_node_has_nobody_to_talk_to() -> None:
    assert worst(network.Examination(), []) is Status.not_applicable
