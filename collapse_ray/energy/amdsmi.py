"""AMD GPUs through AMD SMI: the `amdsmi` package that ROCm ships (`pip install /opt/rocm/share/amd_smi`), 6.3 or later.

PyPI has a copy of it (the extra `amd`); it needs ROCm's `libamd_smi.so` as well, and a release no older than it.

No AMD hardware was at hand when this was written. It follows ROCm's documentation, the source of its library and of the
kernel driver, and is tested against a double of the package. What they say:

- The energy accumulator counts 2^-16 J on every GPU (amdgpu: `gpu_metrics_v1_4`); the library rounds that to 15.3 uJ
  (`kEnergyCounterResolution`), 0.27 % too much. Fields that a GPU does not have are all ones.
- A partition of an MI300 is a processor of its own, but power and energy are those of the whole GPU and belong to its
  first partition (ROCm, "GPU partitioning").
- An MI250 shows as two GPUs; the first one's power and energy are those of both dies, the second one's are zero
  (amdgpu: `aldebaran_get_gpu_metrics`). The second is unmeasured here, not a GPU that uses nothing.
"""

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from collapse_ray.energy.series import Device, Quality
from collapse_ray.energy.source import Reading

DRIVER = Path("/sys/module/amdgpu")
"""There while the kernel driver is loaded."""

_UJ_PER_COUNT = 1e6 / 2**16
_NO_COUNTER = 2**64 - 1
_NO_POWER = 2**16 - 1  # a 16-bit field of the driver; the package says "N/A" for it in some releases
_UNLOADED = {34, 51}  # AMDSMI_STATUS_DRIVER_NOT_LOADED, NO_DRV
# No GPU can be read before the library is initialised again: AMDSMI_STATUS_INIT_ERROR, NOT_INIT, AMDGPU_RESTART_ERR.
_SESSION_LOST = {18, 32, 54} | _UNLOADED
_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 30.0


class AmdSmi:
    """The AMD GPUs of this node.

    Args:
        node: Name of this node, for the devices.
        driver: Folder that exists while the kernel driver is loaded.
        now: Monotonic time in seconds.
    """

    quality: Quality = "counter"
    # Nowhere is it said how often the accumulator moves. Where it moves all the time, watching it costs a few reads.
    ticks = True

    def __init__(self, node: str, driver: Path = DRIVER, now: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._driver = driver
        self._now = now
        self._smi: Any = None
        self._handles: dict[str, object] = {}
        self._devices: dict[str, Device] = {}
        self._restarted: set[str] = set()
        self._missing: str | None = None  # why some GPU is not among the handles
        self._down: str | None = "AMD SMI was not initialised"
        self._retry_s = _FIRST_RETRY_S
        self._retry_at_s = 0.0
        self.absence: str | None = None
        if not driver.exists():
            self.absence = f"no AMD GPU: the amdgpu driver is not loaded (there is no {driver})"
            return
        try:
            self._smi = _import()
        except ImportError as error:
            self.absence = f"no AMD GPU can be read: {error}"

    def devices(self) -> Sequence[Device]:
        """The GPUs known by now; asked again, it looks for those that could not be found before."""
        if self._smi is not None:
            if self._down is not None or self._missing is not None:
                self._reopen()
            self.absence = self._missing if self._down is None else f"no AMD GPU can be read: {self._down}"
        return list(self._devices.values())

    def _open(self) -> str | None:
        """Initialises the library and finds every GPU once, by its first partition; says why some are missing."""
        self._smi.amdsmi_init(self._smi.AmdSmiInitFlags.INIT_AMD_GPUS)
        self._handles.clear()
        devices: dict[str, Device] = {}
        missing = None
        for index, handle in enumerate(self._smi.amdsmi_get_processor_handles()):
            try:
                uuid = self._smi.amdsmi_get_gpu_device_uuid(handle)
                # Partitions share the UUID in older releases, and have one each in newer ones.
                if uuid in devices or self._partition(handle) > 0:
                    continue
                name = self._smi.amdsmi_get_gpu_asic_info(handle)["market_name"]
            except self._smi.AmdSmiException as error:
                missing = f"AMD GPU {index} cannot be read: {_say(error)}"
                continue
            self._handles[uuid], devices[uuid] = handle, Device(uuid, name, "gpu", self._node)
        self._devices |= devices
        return missing if missing or devices else "AMD SMI finds none"

    def _partition(self, handle: object) -> int:
        try:
            partition = self._smi.amdsmi_get_gpu_kfd_info(handle)["current_partition_id"]
        except self._smi.AmdSmiException:
            return 0  # GPUs that cannot be partitioned may not know the question
        return partition if isinstance(partition, int) else 0

    def read(self, uuid: str) -> Reading:
        """Counter and power of one GPU; each may be None, and `fault` says why both are."""
        begin_s = self._now()
        counter_uj, fault = self._counter(uuid)
        power_w, power_fault = self._power(uuid)
        middle_s = (begin_s + self._now()) / 2
        if not counter_uj and power_w == 0:
            fault = "it shows neither energy nor power, as the second die of an MI250, which the first die counts"
            return Reading(middle_s, fault=fault)
        restarted = counter_uj is not None and uuid in self._restarted
        if restarted:
            self._restarted.discard(uuid)
        lost = fault or power_fault if counter_uj is None and power_w is None else None
        return Reading(middle_s, counter_uj, power_w, lost, restarted)

    def counter(self, uuid: str) -> tuple[float, int | None]:
        begin_s = self._now()
        counter_uj, _ = self._counter(uuid)
        if uuid in self._restarted:
            counter_uj = None  # a restart is told by `read` alone
        return (begin_s + self._now()) / 2, counter_uj

    def close(self) -> None:
        if self._handles:
            with suppress(self._smi.AmdSmiException):  # as when the driver has gone
                self._smi.amdsmi_shut_down()

    def _counter(self, uuid: str) -> tuple[int | None, str | None]:
        answer, fault = self._ask(uuid, "amdsmi_get_energy_count")
        if answer is None:
            return None, fault
        if answer["energy_accumulator"] == _NO_COUNTER:
            return None, "it has no energy counter"
        return round(answer["energy_accumulator"] * _unit_uj(answer["counter_resolution"])), None

    def _power(self, uuid: str) -> tuple[float | None, str | None]:
        """Watts: MI300 and later tell the present power, others its mean over a short time."""
        answer, fault = self._ask(uuid, "amdsmi_get_power_info")
        if answer is None:
            return None, fault
        for field in ("current_socket_power", "average_socket_power"):
            if isinstance(answer[field], int) and answer[field] < _NO_POWER:
                return float(answer[field]), None
        return None, "it has no power sensor"

    def _ask(self, uuid: str, query: str) -> tuple[dict[str, Any] | None, str | None]:
        """The answer, or why there is none; one more try when the session was lost and could be opened anew."""
        for _ in range(2):
            if self._down is not None or uuid not in self._handles:
                self._reopen()
            if self._down is not None or uuid not in self._handles:
                return None, self._down or self._missing or "AMD SMI no longer finds it"
            try:
                return getattr(self._smi, query)(self._handles[uuid]), None
            except self._smi.AmdSmiException as error:
                if not self._loses_session(error):
                    return None, _say(error)
        return None, self._down

    def _loses_session(self, error: Exception) -> bool:
        """Where the driver has gone, the library may say no more than that a file of its is not there."""
        unloaded = _code(error) in _UNLOADED or not self._driver.exists()
        if not unloaded and _code(error) not in _SESSION_LOST:
            return False
        self._down = "the amdgpu driver is not loaded" if unloaded else _say(error)
        if unloaded:
            self._restarted = set(self._devices)
        return True

    def _reopen(self) -> None:
        """Initialises the library, at most once per back-off."""
        if self._now() < self._retry_at_s:
            return
        try:
            with suppress(self._smi.AmdSmiException):  # where it is not initialised
                self._smi.amdsmi_shut_down()
            self._missing = self._open()
            self._down = None if self._handles else self._missing
        except self._smi.AmdSmiException as error:
            if not self._loses_session(error):
                self._down = _say(error)
        complete = self._down is None and self._missing is None and self._devices.keys() <= self._handles.keys()
        self._retry_s = _FIRST_RETRY_S if complete else min(2 * self._retry_s, _LAST_RETRY_S)
        self._retry_at_s = self._now() + self._retry_s


def _import() -> ModuleType:
    """The package of ROCm.

    Raises:
        ImportError: it is not installed, is too old, or does not go with ROCm's library.
    """
    install = "install that of this machine's ROCm: pip install /opt/rocm/share/amd_smi"
    try:
        # Where it does not find its library it prints so, and standard output belongs to the program.
        with redirect_stdout(sys.stderr):
            smi = importlib.import_module("amdsmi")
    except ModuleNotFoundError as error:
        raise ImportError(f"the package amdsmi is not installed; {install}") from error
    except (ImportError, OSError, KeyError, AttributeError) as error:
        raise ImportError(f"the package amdsmi does not load ROCm's library ({error!r}); {install}") from error
    if not hasattr(smi, "amdsmi_get_gpu_kfd_info"):
        raise ImportError(f"the package amdsmi is older than ROCm 6.3; {install}")
    return smi


def _unit_uj(resolution_uj: float) -> float:
    return _UJ_PER_COUNT if round(resolution_uj, 1) == round(_UJ_PER_COUNT, 1) else resolution_uj


def _code(error: Exception) -> int | None:
    return getattr(error, "err_code", None)  # absent from errors of the Python side


def _say(error: Exception) -> str:
    return f"AMD SMI error {_code(error)}: {' '.join(str(error).split())}"
