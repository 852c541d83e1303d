"""What this machine must have for the workers, asked before any of them, or Ray, is started."""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch
from torch.utils.cpp_extension import get_default_build_root

from collapse_ray.config.errors import InvalidInput
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.spec import TrainSpec

NVME_OP = "async_io"
"""DeepSpeed's disk access, compiled at the first training that offloads to NVMe; nothing else is compiled."""


def check_machine(execution: RunConfig) -> None:
    """Refuses more workers than this machine can hold.

    Raises:
        InvalidInput: says what was asked and what there is.
    """
    num_cpus = len(os.sched_getaffinity(0))
    cpus = execution.workers * execution.cpus_per_worker
    check_resource("CPU", cpus, num_cpus, "run.cpus_per_worker", "this machine")
    check_resource("GPU", execution.num_gpus, torch.cuda.device_count(), "run.gpus_per_worker", "this machine")


def check_resource(kind: str, asked: float, available: float, setting: str, where: str) -> None:
    """Refuses more CPUs or GPUs than there are.

    Raises:
        InvalidInput: says what was asked and what there is.
    """
    if asked > available:
        count = f"{asked:g} {kind}{'' if asked == 1 else 's'}"
        raise InvalidInput(f"the workers ask for {count} and {where} has {available:g}; lower run.workers or {setting}")


def check_training(train: TrainSpec, execution: RunConfig, deepspeed: dict[str, Any]) -> None:
    """Refuses training with gradients that this machine cannot do.

    Args:
        train: its precision is read.
        execution: whether there are GPUs.
        deepspeed: the whole DeepSpeed configuration.

    Raises:
        InvalidInput: the CPU has no arithmetic in that precision, or DeepSpeed could not compile what it needs.
    """
    if train.precision == "fp16" and not execution.num_gpus and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise InvalidInput(
            "train.precision=fp16 is not supported on this CPU; "
            "use bf16 or fp32 here, or GPUs with run.gpus_per_worker=1"
        )
    offloads = [deepspeed["zero_optimization"].get(f"offload_{what}") or {} for what in ("param", "optimizer")]
    if any(offload.get("device") == "nvme" for offload in offloads) and not is_built(NVME_OP):
        _check_compiler()


def _check_compiler() -> None:
    scripts = sysconfig.get_path("scripts")
    if shutil.which("ninja", path=os.pathsep.join([scripts, os.environ.get("PATH", "")])) is None:
        raise _cannot_compile(f"'ninja' is neither in {scripts} nor on the PATH", "pip install ninja")
    compiler = shlex.split(os.environ.get("CXX", "c++"))[0]
    if shutil.which(compiler) is None:
        raise _cannot_compile(
            f"the C++ compiler {compiler!r} is not on the PATH", "install g++, or give one with CXX=…"
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        raise _cannot_compile(f"{header} does not exist", "install Python's headers (python3-dev)")


def _cannot_compile(what: str, todo: str) -> InvalidInput:
    return InvalidInput(f"{what}, and DeepSpeed compiles its disk access for NVMe offload: {todo}, or offload to cpu")


def is_built(op: str) -> bool:
    """Whether torch finds the operator where an earlier run left it."""
    library = f"{op}/{op}.so"
    if root := os.environ.get("TORCH_EXTENSIONS_DIR"):
        return Path(root, library).exists()
    version = f"py{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}"
    return any(Path(get_default_build_root()).glob(f"{version}_*/{library}"))
