"""Two nodes with fake GPUs for all tests of a session, and drivers that use them."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_gpus import Gpu
from node_driver import Driver
from simulated_nodes import Lateness, Nodes

HEAD = (
    Gpu("GPU-a0", "constant", low=300),
    Gpu("GPU-a1", "ramp", low=100, high=400, period=7, offset=0.03),
    Gpu("GPU-a2", "constant", low=200, more="counter=0"),
)
SECOND = (
    Gpu("GPU-b0", "constant", low=250, offset=0.06),
    Gpu("GPU-b1", "square", low=90, high=450, period=5, duty=0.4),
    Gpu("GPU-b2", "steps", levels=(120, 380, 60), period=3, sensor="h100"),
)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where Ray has its sockets, whose paths must be short: no cluster that is started elsewhere finds ours."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.fixture(scope="session")
def nodes(fake_nvml: Path, folder: Path) -> Iterator[Nodes]:
    """Drivers are processes of their own, so that this one stays free for other clusters."""
    nodes = Nodes(fake_nvml, folder)
    nodes.add(*HEAD)
    nodes.add(*SECOND)
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture(scope="session")
def shared_driver(nodes: Nodes) -> Iterator[Driver]:
    driver = Driver(nodes.address)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def other_driver(nodes: Nodes) -> Iterator[Driver]:
    driver = Driver(nodes.address)
    yield driver
    driver.close()


@pytest.fixture
def make_driver() -> Iterator[Callable[[str], Driver]]:
    """Makes drivers of the cluster of an address."""
    made: list[Driver] = []

    def make(address: str) -> Driver:
        made.append(Driver(address))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def lateness() -> Iterator[Lateness]:
    with Lateness() as lateness:
        yield lateness


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")
