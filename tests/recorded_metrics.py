"""Stands for Ray's metrics, with their rules; what they were told can be looked at."""

from collections import defaultdict
from types import ModuleType

import pytest

Values = dict[tuple[str, ...], float]


class Recorder:
    """Both `Counter` and `Gauge` of `ray.util.metrics`."""

    metrics: dict[str, Values]

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] = ()) -> None:
        self.tag_keys = tag_keys
        # Declared twice, a metric is the same one, as in Ray.
        self.values = self.metrics.setdefault(name, defaultdict[tuple[str, ...], float](float))

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0  # Ray refuses others
        self.values[self._key(tags)] += value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[self._key(tags)] = value

    def _key(self, tags: dict[str, str]) -> tuple[str, ...]:
        assert tags.keys() == set(self.tag_keys)
        assert all(isinstance(value, str) for value in tags.values())
        return tuple(tags[key] for key in self.tag_keys)


def record(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> dict[str, Values]:
    """Values by metric, and by its labels in their order, of what these modules tell Ray."""
    found: dict[str, Values] = {}
    recorder = type("Recorder", (Recorder,), {"metrics": found})
    for module in modules:
        for name in {"Counter", "Gauge"} & vars(module).keys():
            monkeypatch.setattr(module, name, recorder)
    return found
