"""GPUs: Ray gives to workers as many as torch can use and as the sensors show."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site
from collapse_ray.energy.sources import find_sources


@dataclass(frozen=True)
class Gpus:
    """The GPUs of one node, as three see them."""

    ray: float
    sensors: int
    """Boards that NVML, or AMD SMI, finds."""
    torch: int
    build: str
    """Of torch: `CUDA 13.0`, `ROCm 6.4` or `CPU`."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES of the node."""
    absence: str | None = None
    """Why the sensors show none."""
    complaint: str | None = None
    """Why torch cannot use those that there are."""


class Examination(Check[dict[str, Gpus]]):
    """Three counts for each node."""

    def examine(self, site: Site) -> dict[str, Gpus]:
        return site.each(probe)

    def judge(self, facts: dict[str, Gpus]) -> Iterator[Finding]:
        for node, gpus in facts.items():
            yield from _judge(node, gpus)


def _judge(node: str, gpus: Gpus) -> Iterator[Finding]:
    if not gpus.ray and not gpus.sensors and not gpus.torch:
        yield Finding(node, Status.not_applicable, "no GPU")
        return
    counts = f"GPUs: Ray {gpus.ray:g}, NVML {gpus.sensors}, torch {gpus.torch}"
    faults = list(_faults(node, gpus, counts))
    yield from faults
    if faults:
        return
    if not gpus.ray or gpus.ray < gpus.torch:
        fix = f"ray start --num-gpus={gpus.torch or gpus.sensors}, unless the others are meant to be left alone"
        yield Finding(node, Status.warning, f"{counts}: workers never get the others", fix)
    elif gpus.sensors != gpus.torch and gpus.visible is None:
        fix = "none, where GPUs are split (MIG): NVML counts boards and meters whole ones"
        yield Finding(node, Status.warning, counts, fix)
    else:
        yield Finding(node, Status.ok, counts)


def _faults(node: str, gpus: Gpus, counts: str) -> Iterator[Finding]:
    if not gpus.sensors:
        fix = (
            "make libnvidia-ml.so.1 of the driver visible to Ray's processes; in a container: NVIDIA's container "
            "toolkit with NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )
        found = f"{counts}: NVML is missing, so nothing can be metered ({gpus.absence or 'it shows no GPU'})"
        yield Finding(node, Status.fault, found, fix)
    if gpus.torch < gpus.ray:
        fix = (
            "install torch's CUDA build there (plain `pip install torch` of constraints.txt)"
            if gpus.build == "CPU"
            else "update the NVIDIA driver, or start Ray with the --num-gpus that there are"
        )
        why = f": {gpus.complaint}" if gpus.complaint else ""
        yield Finding(node, Status.fault, f"{counts}: torch ({gpus.build} build) cannot use them{why}", fix)


def probe(node: Node) -> Gpus:
    """The GPUs of this node, as a worker would find them."""
    sources = find_sources(node.name, estimate=False)
    boards = [device for source in sources for device in source.devices() if device.kind == "gpu"]
    absence = None if boards else sources[0].absence
    for source in sources:
        source.close()
    num, complaint = _torch_gpus()
    return Gpus(node.num_gpus, len(boards), num, _build(), os.environ.get("CUDA_VISIBLE_DEVICES"), absence, complaint)


def _torch_gpus() -> tuple[int, str | None]:
    """How many GPUs torch can use, and what it says where it cannot."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        num = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return num, str(caught[0].message).partition("\n")[0] if caught else None


def _build() -> str:
    if torch.version.cuda is not None:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip is not None else "CPU"
