"""Fixtures that make nodes of fake GPUs."""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from fake_gpus import Gpu
from virtual_node import Clock, MakeNode, Node

from collapse_ray.energy.nvml import Nvml
from collapse_ray.energy.sampler import Sampler


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own `libnvidia-ml.so.1`, compiled."""
    compiler = shutil.which("cc") or shutil.which("c++")
    if compiler is None:
        pytest.skip("the fake NVML needs a C compiler: install cc or c++")
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_nvml.c")
    command = [compiler, "-x", "c", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-lm"]
    subprocess.run(command, check=True)
    return library


@pytest.fixture
def make_node(fake_nvml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeNode]:
    library = ctypes.CDLL(str(fake_nvml))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    pynvml._nvmlGetFunctionPointer_cache.clear()

    def configure(*gpus: Gpu, driver: str = "") -> None:
        config = tmp_path / "gpus.txt"
        config.write_text("".join(gpu.line() for gpu in gpus) + (f"driver {driver}\n" if driver else ""))
        library.fake_nvml_load(str(config).encode())

    def make(*gpus: Gpu, driver: str = "") -> Node:
        configure(*gpus, driver=driver)
        clock = Clock(library)
        source = Nvml("node", clock, clock)
        return Node(clock, source, Sampler([source], now=clock), configure)

    yield make
    pynvml._nvmlGetFunctionPointer_cache.clear()
