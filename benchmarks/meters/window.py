"""One window of one energy meter, in a process of its own that does nothing else.

python window.py TOOL WINDOW_S [realtime]

Prints a line when the tool has found its devices. Reads a line then: when to begin (monotonic seconds), and how much
later that is than the faults of its GPUs assume. Prints one JSON object in the end. Runs in the environment of the
tool, with the standard library.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

STEADY_S = 3.0
"""After the begin of the window, when what a tool does there is over."""


class Tool(Protocol):
    package: str

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def marks_s(self, began_s: float, ended_s: float) -> tuple[float, float]:
        """Between which moments it says the energy was used, somewhere from `began_s` to `ended_s`."""
        ...

    def energies_j(self) -> dict[str, float | None]:
        """Joules by device, None where the tool says that it does not know."""
        ...


class CollapseRay:
    package = "collapse-ray"

    def __init__(self) -> None:
        self._meter = import_module("collapse_ray.energy.meter").Meter().__enter__()
        self._open = self._meter.window("window")

    def begin(self) -> None:
        self._window = self._open.__enter__()

    def end(self) -> None:
        self._open.__exit__(None, None, None)

    def marks_s(self, began_s: float, ended_s: float) -> tuple[float, float]:
        return self._window.begin_monotonic_s, self._window.end_monotonic_s

    def energies_j(self) -> dict[str, float | None]:
        return {device.uuid: device.energy_j for device in self._window.devices if device.kind == "gpu"}


class Asking:
    """A tool that does not tell its marks: they are when it first and last asked for energy or power."""

    def __init__(self) -> None:
        self._asked_s: list[float] = []
        nvml = import_module("pynvml")
        for name in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"):
            setattr(nvml, name, self._timed(getattr(nvml, name)))

    def _timed(self, query: Callable[[object], int]) -> Callable[[object], int]:
        def timed(handle: object) -> int:
            self._asked_s.append(time.monotonic())
            return query(handle)

        return timed

    def marks_s(self, began_s: float, ended_s: float) -> tuple[float, float]:
        inside_s = [time_s for time_s in self._asked_s if began_s <= time_s <= ended_s]
        return inside_s[0], inside_s[-1]


class CodeCarbon(Asking):
    """Reads every second and knows nothing of the network; one sum for all GPUs."""

    package = "codecarbon"

    def __init__(self) -> None:
        super().__init__()
        self._tracker = import_module("codecarbon").OfflineEmissionsTracker(
            country_iso_code="USA", measure_power_secs=1, save_to_file=False, log_level="critical"
        )
        # Looking for hardware takes seconds, and would be a part of `start`.
        self._tracker._ensure_hardware_ready()

    def begin(self) -> None:
        self._tracker.start()

    def end(self) -> None:
        self._tracker.stop()

    def energies_j(self) -> dict[str, float | None]:
        return {"all": self._tracker.final_emissions_data.gpu_energy * 3.6e6}


class Zeus(Asking):
    package = "zeus"

    def __init__(self) -> None:
        super().__init__()
        self._monitor = import_module("zeus.monitor").ZeusMonitor()

    def begin(self) -> None:
        self._monitor.begin_window("window", sync_execution=False)

    def end(self) -> None:
        self._result = self._monitor.end_window("window", sync_execution=False)

    def energies_j(self) -> dict[str, float | None]:
        return {str(gpu): energy_j for gpu, energy_j in self._result.gpu_energy.items()}


TOOLS: dict[str, type[Tool]] = {"collapse-ray": CollapseRay, "codecarbon": CodeCarbon, "zeus": Zeus}


def measure(tool: Tool, begin_s: float, window_s: float) -> dict[str, Any]:
    """One window: joules, and what it took to know them."""
    _sleep_until(begin_s)
    began_s, begin_cpu_s = time.monotonic(), cpu_s()
    tool.begin()
    open_s = time.monotonic()
    _sleep_until(open_s + STEADY_S)
    steady_cpu_s = cpu_s()
    _sleep_until(open_s + window_s)
    closing_cpu_s, rss_mb = cpu_s(), rss() / 1e6
    tool.end()
    ended_s = time.monotonic()
    energies_j = tool.energies_j()
    return {
        "energies_j": energies_j,
        "marks_s": tool.marks_s(began_s, ended_s),
        "cpu_percent": 100 * (cpu_s() - begin_cpu_s) / window_s,
        "steady_cpu_percent": 100 * (closing_cpu_s - steady_cpu_s) / (window_s - STEADY_S),
        "rss_mb": rss_mb,
    }


def cpu_s() -> float:
    """CPU time of this process and its workers, to the nanosecond."""
    clocks = [(~worker.pid << 3) | 2 for worker in _workers()]  # clock_getcpuclockid(3)
    return time.process_time() + sum(time.clock_gettime(clock) for clock in clocks)


def rss() -> int:
    """Resident bytes of this process and its workers."""
    pages = 0
    for pid in [os.getpid(), *(worker.pid for worker in _workers())]:
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _workers() -> list[Any]:
    """Processes that a tool has begun; asked without an import that would count as its memory."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing.active_children() if multiprocessing else []


def _sleep_until(time_s: float) -> None:
    time.sleep(max(0.0, time_s - time.monotonic()))


def main() -> None:
    tool_name, window_s = sys.argv[1], float(sys.argv[2])
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tools print is no result
    result: dict[str, Any] = {"version": version(TOOLS[tool_name].package)}
    try:
        tool = TOOLS[tool_name]()
        if sys.argv[3:] == ["realtime"]:
            for thread in Path("/proc/self/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
        print("ready", file=stdout, flush=True)
        begin_s, later_s = map(float, sys.stdin.readline().split())
        ctypes.CDLL("libnvidia-ml.so.1").peers_shift_faults(ctypes.c_double(later_s))
        result |= measure(tool, begin_s, window_s)
    except Exception as error:  # whatever a tool raises is its result
        result["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result), file=stdout, flush=True)
    # A tool whose threads and workers do not end has measured all the same.
    for worker in _workers():
        worker.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
