"""A double of ROCm's package `amdsmi`, in virtual time: what the documentation says, with power in closed form."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path
from types import ModuleType
from typing import Any

from fake_gpus import Gpu

COUNT_J = 2.0**-16
"""amdgpu, kgd_pp_interface.h, gpu_metrics_v1_4: `Energy (15.259uJ (2^-16) units)`."""

NOT_SUPPORTED, NOT_INIT, DRIVER_NOT_LOADED, FILE_ERROR = 2, 32, 34, 14


class AmdSmiException(Exception): ...


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, code: int) -> None:
        self.err_code = code

    def __str__(self) -> str:
        return f"Error code:\n\t{self.err_code} | AMDSMI_STATUS"


@dataclass(frozen=True)
class Fault:
    code: int
    begin_s: float
    end_s: float = inf
    only: str = ""
    """Part of the name of the functions that fail; all of the device's, if empty."""


@dataclass(frozen=True)
class Processor:
    """What `amdsmi_get_processor_handles` lists: a GPU, or one of its partitions."""

    gpu: Gpu
    faults: Sequence[Fault] = ()
    tick_s: float = 0.001
    counter: bool = True
    power: str = "current_socket_power"
    partition: int | str = "N/A"
    dead: bool = False
    """The second die of an MI250: no energy, no power."""


@dataclass
class Machine:
    """A clock, and the package as it is on a machine with these processors; looking at the clock takes 50 us."""

    processors: Sequence[Processor]
    driver: Path
    reload_s: tuple[float, float] = (inf, inf)
    time_s: float = 100.0
    initialised: bool = False
    init_code: int = 0
    """What `amdsmi_init` fails with."""
    inits: int = 0

    def now(self) -> float:
        self.time_s += 5e-5
        if self.reload_s[0] <= self.time_s < self.reload_s[1]:
            shutil.rmtree(self.driver, ignore_errors=True)
        else:
            self.driver.mkdir(exist_ok=True)
        return self.time_s

    def init(self, flag: str) -> None:
        assert flag == "GPUs"
        if not self.driver.exists():
            raise AmdSmiLibraryException(DRIVER_NOT_LOADED)
        if self.init_code:
            raise AmdSmiLibraryException(self.init_code)
        self.initialised = True
        self.inits += 1

    def shut_down(self) -> None:
        self._check()
        self.initialised = False

    def handles(self) -> list[Processor]:
        self._check()
        return list(self.processors)

    def energy_count(self, processor: Processor) -> dict[str, Any]:
        self._check(processor, "energy_count")
        resolution = {"counter_resolution": 15.300000190734863, "timestamp": round(self.time_s * 1e9)}
        if not processor.counter:
            return {"energy_accumulator": 2**64 - 1, **resolution}
        if processor.dead:
            return {"energy_accumulator": 0, **resolution}
        zero_s = self.reload_s[1] if self.time_s >= self.reload_s[1] else 0.0
        tick_s = max(zero_s, floor(self.time_s / processor.tick_s) * processor.tick_s)
        return {"energy_accumulator": int(processor.gpu.energy_j(zero_s, tick_s) / COUNT_J), **resolution}

    def power_info(self, processor: Processor) -> dict[str, Any]:
        self._check(processor, "power_info")
        fields = {"current_socket_power": "N/A", "average_socket_power": 0xFFFFFFFF, "gfx_voltage": "N/A"}
        power_w = 0.0 if processor.dead else processor.gpu.energy_j(self.time_s - 1e-3, self.time_s) / 1e-3
        return {**fields, processor.power: round(power_w)} if processor.power else fields

    def kfd_info(self, processor: Processor) -> dict[str, Any]:
        self._check(processor, "kfd_info")
        if processor.partition == "N/A":
            raise AmdSmiLibraryException(NOT_SUPPORTED)
        return {"current_partition_id": processor.partition}

    def identity(self, processor: Processor) -> str:
        self._check(processor, "identity")
        return processor.gpu.uuid

    def _check(self, processor: Processor | None = None, function: str = "") -> None:
        if not self.driver.exists():
            raise AmdSmiLibraryException(FILE_ERROR)
        if not self.initialised:
            raise AmdSmiLibraryException(NOT_INIT)
        for fault in processor.faults if processor else ():
            if fault.begin_s <= self.time_s < fault.end_s and fault.only in function:
                # The library forgets its state, as after a fork: true until it is initialised again.
                self.initialised = fault.code != NOT_INIT
                raise AmdSmiLibraryException(fault.code)


def package(machine: Machine) -> ModuleType:
    smi: Any = ModuleType("amdsmi")
    smi.AmdSmiException, smi.AmdSmiLibraryException = AmdSmiException, AmdSmiLibraryException
    smi.AmdSmiInitFlags = type("AmdSmiInitFlags", (), {"INIT_AMD_GPUS": "GPUs"})
    smi.amdsmi_init, smi.amdsmi_shut_down = machine.init, machine.shut_down
    smi.amdsmi_get_processor_handles = machine.handles
    smi.amdsmi_get_gpu_device_uuid = machine.identity
    smi.amdsmi_get_gpu_asic_info = lambda processor: {"market_name": f"Instinct {machine.identity(processor)}"}
    smi.amdsmi_get_gpu_kfd_info = machine.kfd_info
    smi.amdsmi_get_energy_count = machine.energy_count
    smi.amdsmi_get_power_info = machine.power_info
    return smi
