"""`collapse doctor` over real Ray nodes, of which one has every fault that can be planted without a second machine."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plain_site import NODE
from ray.cluster_utils import Cluster

from collapse_ray.doctor.checks.network import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HERE = Path(__file__).parent
STORE = "/proc/self/cwd/store"
"""The same path on every node, and another folder: as a disk of each node's own."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets of Ray have short paths; the head's working directory is `head` below."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a `ray.init` before in this process has asked for the token
        for name in ("head", "sick", "no-operator"):
            Path(folder, name).mkdir()
        monkeypatch.chdir(Path(folder, "head"))
        yield Path(folder)


def other_transformers(folder: Path) -> str:
    """A folder for PYTHONPATH."""
    (folder / "packages" / "transformers-4.0.0.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: transformers\nVersion: 4.0.0\n"
    (folder / "packages" / "transformers-4.0.0.dist-info" / "METADATA").write_text(metadata)
    return str(folder / "packages")


def broken_collapse_ray(folder: Path) -> str:
    """A folder for PYTHONPATH that shadows the package."""
    (folder / "broken" / "collapse_ray").mkdir(parents=True)
    (folder / "broken" / "collapse_ray" / "__init__.py").write_text("raise ImportError('half installed')\n")
    return str(folder / "broken")


def broken_nvml(folder: Path) -> str:
    """A folder for LD_LIBRARY_PATH, also where the machine has NVML."""
    (folder / "libraries").mkdir()
    (folder / "libraries" / "libnvidia-ml.so.1").write_text("no library")
    return str(folder / "libraries")


def late_clock(folder: Path, compiler: str) -> str:
    """A library for LD_PRELOAD."""
    library = folder / "late_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "late_clock.c", "-ldl"], check=True)
    return str(library)


@pytest.fixture
def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """A head with an open dashboard, a node with many faults, and one with a broken package; their names."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("the late clock needs a C compiler: install cc")
    cluster = Cluster()
    nodes: dict[str, Any] = {
        "head": cluster.add_node(
            num_cpus=1, include_dashboard=True, dashboard_host="0.0.0.0", dashboard_port=free_port(NODE)
        )
    }
    monkeypatch.chdir(folder / "sick")
    faults = {
        "PYTHONPATH": other_transformers(folder),
        "LD_LIBRARY_PATH": broken_nvml(folder),
        "PATH": "/nowhere",
        "TORCH_EXTENSIONS_DIR": str(folder / "no-operator"),
        "RAY_local_fs_capacity_threshold": "0.0001",  # to Ray, the disk is full
    }
    with monkeypatch.context() as preload:
        # Ray preloads its own allocator instead of what is in `env_vars`, and leaves what is here.
        preload.setenv("LD_PRELOAD", late_clock(folder, compiler))
        preload.setenv("RAY_LD_PRELOAD_ON_WORKERS", "1")
        nodes["sick"] = cluster.add_node(num_cpus=1, num_gpus=1, env_vars=faults)
    monkeypatch.chdir(folder / "head")
    nodes["broken"] = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": broken_collapse_ray(folder)})
    yield cluster, {name: node.node_id[:8] for name, node in nodes.items()}
    cluster.shutdown()


def test_every_planted_fault_is_found(cluster: tuple[Cluster, dict[str, str]], folder: Path) -> None:
    address, ids = cluster[0].address, cluster[1]
    assert address is not None
    command = [sys.executable, "-m", "collapse_ray.cli.main", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--address", address, "--store", STORE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]

    def found(node: str, check: str, status: str = "fault") -> str:
        """What one check says of a node, with the fix."""
        of = [one for one in findings if one["check"] == check and one["node"].endswith(ids[node])]
        return " | ".join(f"{one['found']} -> {one['fix']}" for one in of if one["status"] == status)

    assert "transformers 4.0.0 (the driver has 5." in found("sick", "versions")
    assert "NVML is missing" in found("sick", "gpus")
    assert "NVML error 12" in found("sick", "energy")
    assert "the C++ compiler 'c++' is not on the PATH -> apt-get install g++" in found("sick", "operators")
    assert f"{STORE} is another store here" in found("sick", "store")
    assert "2.00 s" in found("sick", "clock")
    assert "Ray's folder is full" in found("sick", "disk")
    assert "the dashboard is open to the network: 0.0.0.0:" in found("head", "access")
    assert "RAY_AUTH_MODE=token" in found("head", "access")
    assert "token authentication is off" in found("sick", "access", "warning")
    assert "half installed" in found("broken", "reached")
    assert "all-reduce over gloo, 2 nodes" in found("head", "network", "ok")
    well = ("versions", "energy", "operators", "store", "clock", "disk", "gpus", "network")
    assert {check: found("head", check) for check in well} == dict.fromkeys(well, "")
    left = [path for name in ("head", "sick") for path in (folder / name).iterdir()]
    assert left == []
