"""`collapse sweep` with the plain twin in the place of Ray Tune."""

import sys
from types import ModuleType

import pytest
from plain_sweep import run_plain_sweep

from collapse_ray.lineage.launch import Metering
from collapse_ray.search.events import OnEvent
from collapse_ray.search.spec import Sweep


def without_ray(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sweeps run in this process from now on; the ids of those that began are in the list."""
    began: list[str] = []

    def run_sweep(sweep: Sweep, on_event: OnEvent, metering: Metering) -> None:
        def listen(event: object) -> None:
            if not began:
                began.append(sweep.id)
            on_event(event)  # type: ignore[arg-type]  # passed on as it came

        run_plain_sweep(sweep, listen)

    runner = ModuleType("collapse_ray.search.runner")
    runner.run_sweep = run_sweep  # type: ignore[attr-defined]  # a module of one function
    monkeypatch.setitem(sys.modules, runner.__name__, runner)
    return began
