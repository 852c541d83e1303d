"""Finds whatever can be read on this node."""

from collections.abc import Mapping

from collapse_ray.energy import amdsmi
from collapse_ray.energy.amdsmi import AmdSmi
from collapse_ray.energy.estimate import CpuEstimate
from collapse_ray.energy.nvml import Nvml
from collapse_ray.energy.rapl import Rapl
from collapse_ray.energy.source import Source


def find_sources(
    node: str, *, estimate: bool, tdp_w: float | None = None, known_uj: Mapping[str, int] | None = None
) -> list[Source]:
    """GPUs through NVML and AMD SMI, CPUs and memory through RAPL.

    Args:
        node: Name of this node, for the devices.
        estimate: Where no CPU sensor can be read, estimate CPUs from their utilisation.
        tdp_w: Thermal design power of all CPUs for the estimate; default: 4 W per logical core.
        known_uj: Counters of RAPL to go on from, see `Rapl`.
    """
    rapl = Rapl(node, known_uj=known_uj)
    found: list[Source] = [Nvml(node), rapl]
    if amdsmi.DRIVER.exists():
        found.insert(1, AmdSmi(node))
    readable = any(device.kind == "cpu" and rapl.read(device.uuid).fault is None for device in rapl.devices())
    return found if readable or not estimate else [*found, CpuEstimate(node, tdp_w)]
