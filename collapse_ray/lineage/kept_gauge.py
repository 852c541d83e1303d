"""A gauge of Ray that stays as it was set. A Ray seam.

Ray shows the value of a gauge for about twenty seconds, and then the series is gone until it is set again. What changes
once in a generation would be missing most of the time: alerts would end, and panels would show gaps.
"""

import atexit
import threading
import weakref
from collections.abc import Mapping

from ray.util.metrics import Gauge

from collapse_ray.monitoring.metrics import Metric

REPEAT_S = 5.0


class KeptGauge:
    """Sets its values again every few seconds, as long as it is referred to. Ray need not be up yet."""

    def __init__(self, metric: Metric) -> None:
        self._gauge = Gauge(metric.name, metric.help, metric.labels)
        self._values: dict[tuple[tuple[str, str], ...], float] = {}
        self._setting = threading.Lock()
        _repeater.add(self)

    def set(self, value: float, tags: Mapping[str, str]) -> None:
        """Shows a value from now on."""
        with self._setting:
            self._values[tuple(tags.items())] = value
            self._gauge.set(value, tags=dict(tags))

    def repeat(self) -> None:
        """Sets all values again."""
        with self._setting:
            for tags, value in self._values.items():
                self._gauge.set(value, tags=dict(tags))


class _Repeater:
    """One thread for all gauges of the process, from the first on."""

    def __init__(self) -> None:
        self._gauges: weakref.WeakSet[KeptGauge] = weakref.WeakSet()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, gauge: KeptGauge) -> None:
        self._gauges.add(gauge)
        if self._thread is None:
            self._thread = threading.Thread(target=self._repeat, name="collapse-gauges", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Before the interpreter takes Ray away from the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(REPEAT_S):
            self._repeat_all()

    def _repeat_all(self) -> None:
        """A function of its own: between two rounds the thread refers to no gauge."""
        for gauge in list(self._gauges):
            gauge.repeat()


_repeater = _Repeater()
atexit.register(_repeater.end)
