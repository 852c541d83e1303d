"""NVIDIA GPUs through NVML, and nothing but NVML.

The energy counter (`nvmlDeviceGetTotalEnergyConsumption`, millijoules, Volta and later) is tried at every read: no
table of architectures decides who has it. NVML enumerates boards, so a board that is split into MIG instances is read
once. On Grace Hopper the counter covers the whole module, while power is that of the GPU.
"""

import time
from collections.abc import Callable, Sequence

import pynvml

from collapse_ray.energy.series import Device, Quality
from collapse_ray.energy.source import Reading

# Another code path may work although this one does not; the device itself is well.
_REFUSED = {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
# No device can be read before the library is initialised again.
_SESSION_LOST = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 30.0


class Nvml:
    """The NVIDIA boards of this node.

    Args:
        node: Name of this node, for the devices.
        now: Monotonic time in seconds.
    """

    quality: Quality = "counter"
    ticks = True

    def __init__(self, node: str, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._handles: dict[str, object] = {}
        self._devices: dict[str, Device] = {}
        self._without_instant: set[str] = set()  # boards that know nvmlDeviceGetPowerUsage only
        self._restarted: set[str] = set()
        self._down: str | None = None
        self._retry_s = _FIRST_RETRY_S
        self._retry_at_s = 0.0
        self.absence: str | None = None
        try:
            pynvml.nvmlInit()
            self._find(node)
        except pynvml.NVMLError as error:
            self.absence = f"no NVIDIA GPU can be read: {_say(error)}"

    def _find(self, node: str) -> None:
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
                name = pynvml.nvmlDeviceGetName(handle)
            except pynvml.NVMLError as error:
                self.absence = f"GPU {index} cannot be read: {_say(error)}"
                continue
            self._handles[uuid] = handle
            self._devices[uuid] = Device(uuid, name, "gpu", node)

    def devices(self) -> Sequence[Device]:
        return list(self._devices.values())

    def read(self, uuid: str) -> Reading:
        """Counter and power of one board; each may be None, and `fault` says why both are."""
        begin_s = self._now()
        counter_uj, fault = self._counter(uuid)
        power_w, power_fault = self._power(uuid)
        middle_s = (begin_s + self._now()) / 2
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
        if self._devices and self._down is None:
            pynvml.nvmlShutdown()

    def _counter(self, uuid: str) -> tuple[int | None, str | None]:
        value_mj, fault = self._ask(uuid, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return (None if value_mj is None else value_mj * 1000), fault

    def _power(self, uuid: str) -> tuple[float | None, str | None]:
        if uuid not in self._without_instant:
            value_mw, fault = self._ask(uuid, _power_instant_mw)
            if value_mw is not None or self._down:
                return (None if value_mw is None else value_mw / 1000), fault
        value_mw, fault = self._ask(uuid, pynvml.nvmlDeviceGetPowerUsage)
        if value_mw is None:
            return None, fault
        self._without_instant.add(uuid)
        return value_mw / 1000, None

    def _ask(self, uuid: str, query: Callable[[object], int]) -> tuple[int | None, str | None]:
        """The answer, or why there is none; one more try when the session was lost and could be opened anew."""
        for _ in range(2):
            if self._down is not None and not self._reopen():
                return None, self._down
            try:
                if uuid not in self._handles:
                    self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                return query(self._handles[uuid]), None
            except pynvml.NVMLError as error:
                fault = _say(error)
                if _code(error) in _SESSION_LOST:
                    self._lose_session(error)
                    continue
                if _code(error) not in _REFUSED:
                    self._handles.pop(uuid, None)  # the handle of a lost board is void, even after it is back
                return None, fault
        return None, self._down

    def _lose_session(self, error: pynvml.NVMLError) -> None:
        self._down = _say(error)
        if _code(error) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
            self._restarted = set(self._devices)

    def _reopen(self) -> bool:
        """Initialises NVML again, at most once per back-off; says whether it is usable."""
        if self._now() < self._retry_at_s:
            return False
        self._handles.clear()
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._lose_session(error)
            self._retry_at_s = self._now() + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
            return False
        self._down = None
        self._retry_s = _FIRST_RETRY_S
        self._retry_at_s = self._now() + _FIRST_RETRY_S
        return True


def _power_instant_mw(handle: object) -> int:
    """Field 186: power of the GPU now, where `nvmlDeviceGetPowerUsage` averages over a second on Ampere and later."""
    field = pynvml.nvmlDeviceGetFieldValues(handle, [(pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_GPU)])[
        0
    ]
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return field.value.uiVal


def _code(error: pynvml.NVMLError) -> int:
    return error.value  # type: ignore[attr-defined]  # NVMLError.__new__ sets it


def _say(error: pynvml.NVMLError) -> str:
    return f"NVML error {_code(error)}: {error}"
