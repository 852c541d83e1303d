"""DeepSpeed's operators: compiled by an earlier run, or compilable by this node.

DeepSpeed compiles operators when they are first used. collapse-ray uses one, `async_io`, and only to offload to NVMe;
but a node that can compile none is one that was not set up as meant.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site
from collapse_ray.train.machine import NVME_OP, is_built

COMPILE_S = 60.0
PYTHON = "#include <Python.h>\n#include <vector>\nint main() { return std::vector<int>(1, PY_MAJOR_VERSION)[0]; }\n"
AIO = "#include <libaio.h>\nint main() { io_context_t context = 0; return io_setup(1, &context); }\n"


@dataclass(frozen=True)
class Toolchain:
    """What one node can compile."""

    built: bool
    """The operator lies where torch looks for it."""
    ninja: str | None
    """Path of the program; None where there is none."""
    compiler: str
    """Command of the C++ compiler."""
    python_error: str | None
    """Why a program that uses Python's headers cannot be compiled."""
    aio_error: str | None
    """Why one that uses libaio cannot."""
    uses_cuda: bool
    """torch uses GPUs here, so operators are compiled for CUDA."""
    nvcc: str | None


class Examination(Check[dict[str, Toolchain]]):
    """Compiles on every node."""

    def examine(self, site: Site) -> dict[str, Toolchain]:
        return site.each(probe)

    def judge(self, facts: dict[str, Toolchain]) -> Iterator[Finding]:
        for node, tools in facts.items():
            if tools.built:
                yield Finding(node, Status.ok, f"{NVME_OP} is compiled already")
                continue
            problems = [*_no_operator(node, tools), *_no_offload(node, tools)]
            yield from problems or [Finding(node, Status.ok, f"{NVME_OP} can be compiled with {tools.compiler}")]


def _no_operator(node: str, tools: Toolchain) -> Iterator[Finding]:
    if tools.ninja is None:
        yield Finding(node, Status.fault, "DeepSpeed's operators cannot be compiled: no ninja", "pip install ninja")
    if tools.python_error is not None:
        found = f"DeepSpeed's operators cannot be compiled: {tools.python_error}"
        yield Finding(node, Status.fault, found, "apt-get install g++ python3-dev, or name a compiler with CXX=…")


def _no_offload(node: str, tools: Toolchain) -> Iterator[Finding]:
    """The toolchain is there, and this operator cannot be compiled."""
    if tools.python_error is None and tools.aio_error is not None:
        found = f"{NVME_OP} cannot be compiled, which offloading to NVMe needs: {tools.aio_error}"
        yield Finding(node, Status.warning, found, "apt-get install libaio-dev, or do not offload to NVMe")
    if tools.uses_cuda and tools.nvcc is None:
        found = f"{NVME_OP} cannot be compiled for GPUs, which offloading to NVMe needs: no nvcc"
        fix = "install the CUDA toolkit that torch was built with and set CUDA_HOME, or do not offload to NVMe"
        yield Finding(node, Status.warning, found, fix)


def probe(_: Node) -> Toolchain:
    """Compiles two small programs as DeepSpeed would."""
    scripts = sysconfig.get_path("scripts")
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    include = f"-I{sysconfig.get_path('include')}"
    cuda = torch.cuda.is_available()
    return Toolchain(
        built=is_built(NVME_OP),
        ninja=shutil.which("ninja", path=os.pathsep.join([scripts, os.environ.get("PATH", "")])),
        compiler=compiler[0],
        python_error=_compile_error([*compiler, include], PYTHON, []),
        aio_error=_compile_error(compiler, AIO, ["-laio"]),
        uses_cuda=cuda,
        nvcc=_nvcc(),
    )


def _compile_error(compiler: list[str], source: str, libraries: list[str]) -> str | None:
    """The first error of a compiler, as one line."""
    if shutil.which(compiler[0]) is None:
        return f"the C++ compiler {compiler[0]!r} is not on the PATH"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.cpp")
        path.write_text(source)
        command = [*compiler, str(path), "-fPIC", "-shared", "-o", str(Path(folder, "program.so")), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_S)
    lines = [line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line]
    told = (lines or [f"{compiler[0]} ends with {done.returncode}"])[0]
    return None if done.returncode == 0 else told.replace(f"{folder}/", "").strip()


def _nvcc() -> str | None:
    """Where torch, and DeepSpeed with it, looks for CUDA's compiler."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    return shutil.which("nvcc") or shutil.which("nvcc", path=str(Path(home, "bin")))
