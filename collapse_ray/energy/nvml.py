"""NVIDIA GPUs through NVML, and nothing but NVML.

The energy counter (millijoules, Volta and later) is tried at every read: no table of architectures decides who has it.
Counter and power come in one call (`nvmlDeviceGetFieldValues`), of which each field has a return code of its own. NVML
enumerates boards, so a board that is split into MIG instances is read once. On Grace Hopper the counter covers the
whole module, while power is that of the GPU.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

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
_ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
# Power of the GPU now, where `nvmlDeviceGetPowerUsage` averages over a second on Ampere and later.
_POWER = pynvml.NVML_FI_DEV_POWER_INSTANT
_NEVER = tuple(f"NVML error {code}:" for code in _REFUSED)
_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 30.0

Answer = TypeVar("Answer")


class Nvml:
    """The NVIDIA boards of this node.

    Args:
        node: Name of this node, for the devices.
        now: Monotonic time in seconds.
        wall: Unix time in seconds: the clock of the driver's samples of processes.
    """

    quality: Quality = "counter"
    ticks = True

    def __init__(
        self, node: str, now: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._node = node
        self._now = now
        self._wall = wall
        self._handles: dict[str, object] = {}
        self._devices: dict[str, Device] = {}
        self._without_field: set[tuple[str, int]] = set()  # boards that answer the field's older function only
        self._restarted: set[str] = set()
        self._down: str | None = "NVML was not initialised"
        self._retry_s = _FIRST_RETRY_S
        self._retry_at_s = 0.0
        self.absence: str | None = None

    def devices(self) -> Sequence[Device]:
        """The boards known by now; asked again, it looks for a library, a driver and boards that have appeared."""
        if self._down is not None and not self._reopen():
            if not self._devices:
                self.absence = f"no NVIDIA GPU can be read: {self._down}"
        else:
            try:
                self.absence = self._find()
            except pynvml.NVMLError as error:
                self.absence = f"no NVIDIA GPU can be read: {_say(error)}"
        return list(self._devices.values())

    def _find(self) -> str | None:
        """Looks at every board, and says why one is missing."""
        absence = None
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
                if uuid not in self._devices:
                    self._devices[uuid] = Device(uuid, pynvml.nvmlDeviceGetName(handle), "gpu", self._node)
            except pynvml.NVMLError as error:
                absence = f"GPU {index} cannot be read: {_say(error)}"
                continue
            self._handles[uuid] = handle
        return absence

    def read(self, uuid: str) -> Reading:
        """Counter and power of one board; each may be None, and `fault` says why both are."""
        begin_s = self._now()
        energy_mj, power_mw, fault = self._energy_and_power(uuid)
        middle_s = (begin_s + self._now()) / 2
        restarted = energy_mj is not None and uuid in self._restarted
        if restarted:
            self._restarted.discard(uuid)
        return Reading(
            middle_s,
            None if energy_mj is None else energy_mj * 1000,
            None if power_mw is None else power_mw / 1000,
            fault if energy_mj is None and power_mw is None else None,
            restarted,
        )

    def counter(self, uuid: str) -> tuple[float, int | None]:
        begin_s = self._now()
        energy_mj, _ = self._ask(uuid, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        if uuid in self._restarted:
            energy_mj = None  # a restart is told by `read` alone
        return (begin_s + self._now()) / 2, None if energy_mj is None else energy_mj * 1000

    def sm_shares(self, uuid: str, last_s: float) -> dict[int, float] | None:
        """The mean of each process' samples; those that used nothing are absent."""
        since_us = int((self._wall() - last_s) * 1e6)
        shares, fault = self._ask(uuid, lambda handle: _sm_shares(handle, since_us))
        return None if fault is not None and fault.startswith(_NEVER) else shares or {}

    def close(self) -> None:
        if self._down is None:
            pynvml.nvmlShutdown()

    def _energy_and_power(self, uuid: str) -> tuple[int | None, int | None, str | None]:
        """Both in one call where the board knows the fields; what it refuses is asked of the older functions."""
        wanted = [field for field in (_ENERGY, _POWER) if (uuid, field) not in self._without_field]
        answers: dict[int, int] | None = {}
        if wanted:
            answers, fault = self._ask(uuid, lambda handle: _field_values(handle, wanted))
            if answers is None:
                return None, None, fault
        energy_mj, fault = self._or_older(uuid, answers, _ENERGY, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        power_mw, power_fault = self._or_older(uuid, answers, _POWER, pynvml.nvmlDeviceGetPowerUsage)
        return energy_mj, power_mw, fault or power_fault

    def _or_older(
        self, uuid: str, answers: dict[int, int], field: int, older: Callable[[object], int]
    ) -> tuple[int | None, str | None]:
        if field in answers:
            return answers[field], None
        value, fault = self._ask(uuid, older)
        if value is not None:
            self._without_field.add((uuid, field))
        return value, fault

    def _ask(self, uuid: str, query: Callable[[object], Answer]) -> tuple[Answer | None, str | None]:
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


def _field_values(handle: object, fields: Sequence[int]) -> dict[int, int]:
    """Those of the fields that the board tells, as whole numbers, in one call.

    Raises:
        NVMLError: it tells none of them, for a worse reason than not to know them.
    """
    try:
        values = pynvml.nvmlDeviceGetFieldValues(handle, [(field, pynvml.NVML_POWER_SCOPE_GPU) for field in fields])
    except pynvml.NVMLError as error:
        if _code(error) in _REFUSED:
            return {}
        raise
    told = [value.nvmlReturn == pynvml.NVML_SUCCESS for value in values]
    worse = [value.nvmlReturn for value in values if value.nvmlReturn not in {pynvml.NVML_SUCCESS, *_REFUSED}]
    if worse and not any(told):
        raise pynvml.NVMLError(worse[0])
    return {field: _whole(value) for field, value, ok in zip(fields, values, told, strict=True) if ok}


def _sm_shares(handle: object, since_us: int) -> dict[int, float]:
    try:
        samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since_us)
    except pynvml.NVMLError as error:
        if _code(error) == pynvml.NVML_ERROR_NOT_FOUND:  # no process, or no sample since
            return {}
        raise
    percents: dict[int, list[int]] = {}
    for sample in samples:
        percents.setdefault(sample.pid, []).append(sample.smUtil)
    return {pid: sum(values) / len(values) / 100 for pid, values in percents.items() if any(values)}


def _whole(value: Any) -> int:
    """The value by the type that it says it has: the upper half of an unsigned int's union is not defined."""
    return value.value.uiVal if value.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT else value.value.ullVal


def _code(error: pynvml.NVMLError) -> int:
    return error.value  # type: ignore[attr-defined]  # NVMLError.__new__ sets it


def _say(error: pynvml.NVMLError) -> str:
    return f"NVML error {_code(error)}: {error}"
