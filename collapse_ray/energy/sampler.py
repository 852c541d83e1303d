"""Reads all devices of a node on time: once a second, and closely around marks. Has no thread of its own."""

import threading
import time
from collections.abc import Callable, Sequence

from collapse_ray.energy.accumulate import Accumulator, CrossCheck
from collapse_ray.energy.edge import EdgeWatch
from collapse_ray.energy.series import Device, Series
from collapse_ray.energy.source import Reading, Source

POLL_S = 0.005
POWER_INTERVAL_S = 0.1
"""Devices that have power alone are read at least this often: the rate at which sensors update."""


class Sampler:
    """Turns reads of every device of some sources into series.

    Call `step` at `due_s` from one thread; `mark` may be called from any.

    Args:
        sources: Where devices come from.
        interval_s: Time between reads of a device away from marks; below a minute, so that no RAPL counter wraps twice.
        now: Monotonic time in seconds.
        poll_s: Time between reads of a counter while its next update is awaited.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        interval_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._queue: list[float] = []
        self._channels = [
            _Channel(source, device, interval_s, poll_s) for source in sources for device in source.devices()
        ]

    def devices(self) -> list[Device]:
        return [channel.device for channel in self._channels]

    def series(self) -> dict[str, Series]:
        """The series of every device so far, by UUID."""
        return {channel.device.uuid: channel.accumulator.series for channel in self._channels}

    def open_gaps(self) -> dict[str, tuple[float, str]]:
        """Since when and why devices cannot be read, by UUID; devices that can are absent."""
        gaps = {channel.device.uuid: channel.accumulator.open_gap for channel in self._channels}
        return {uuid: gap for uuid, gap in gaps.items() if gap is not None}

    def cross_checks(self) -> dict[str, CrossCheck]:
        """Counter against integrated power, by UUID, for devices that have both."""
        checks = {channel.device.uuid: channel.accumulator.cross_check for channel in self._channels}
        return {uuid: check for uuid, check in checks.items() if check is not None}

    def mark(self) -> float:
        """Asks for the energy at this moment, and returns the moment; never waits for a read."""
        with self._lock:
            time_s = self._now()
            self._queue.append(time_s)
        return time_s

    def settled(self, time_s: float) -> bool:
        """Every device was read up to the mark taken at that time."""
        with self._lock:
            marks = [*self._queue, *(mark for channel in self._channels for mark in channel.marks)]
        return all(mark > time_s for mark in marks)

    def due_s(self) -> float:
        """When `step` has something to do."""
        with self._lock:
            if self._queue:
                return self._queue[0]
        return min((channel.due_s for channel in self._channels), default=float("inf"))

    def step(self) -> None:
        """Reads what is due."""
        self._hand_out_marks()
        for channel in self._channels:
            if channel.due_s <= self._now():
                channel.read()
                # A mark taken during the read lies before it, and must not find the series ahead of itself.
                self._hand_out_marks()
                channel.digest()

    def _hand_out_marks(self) -> None:
        with self._lock:
            for channel in self._channels:
                channel.marks.extend(self._queue)
            self._queue.clear()


class _Channel:
    """One device: its series, its marks that wait for a read, and when it is to be read next."""

    def __init__(self, source: Source, device: Device, interval_s: float, poll_s: float) -> None:
        self.device = device
        self.accumulator = Accumulator(device, source.quality, max_step_s=3 * interval_s)
        self.marks: list[float] = []
        self._source = source
        self._interval_s = interval_s
        self._poll_s = poll_s
        self._next_s = 0.0
        self._tick_s: float | None = None
        self._watch: EdgeWatch | None = None
        self._reading: Reading | None = None

    @property
    def due_s(self) -> float:
        if self._watch is not None:
            return self._watch.due_s
        return min([self._next_s, *self.marks])

    def read(self) -> None:
        """The part that takes time: one read, not yet in the series."""
        if self._watch is None:
            self._reading = self._source.read(self.device.uuid)
            return
        time_s, counter_uj = self._source.counter(self.device.uuid)
        last_uj = self._watch.last_uj
        if counter_uj is None or counter_uj < last_uj:
            self._abandon(self._source.read(self.device.uuid))
            return
        self._watch.feed(time_s, counter_uj)
        if self._watch.wants_power:
            reading = self._source.read(self.device.uuid)
            self._watch.edge_power_w = reading.power_w
            if reading.counter_uj is None or reading.restarted or reading.counter_uj < counter_uj:
                self._abandon(reading)

    def _abandon(self, reading: Reading) -> None:
        """The counter was lost or began anew while it was watched: its marks are left to the points around them."""
        self._watch = None
        self.marks.clear()
        self._reading = reading

    def digest(self) -> None:
        """Puts what was read into the series, or watches the counter's tick first where a mark asks for it."""
        if self._watch is not None:
            if self._watch.done:
                self._settle(self._watch)
            return
        reading = self._reading
        assert reading is not None
        restarted = reading.restarted or (reading.counter_uj or 0) < (self.accumulator.last_counter_uj or 0)
        if self.marks and self._source.ticks and reading.counter_uj is not None and not restarted:
            self._watch = EdgeWatch(reading.time_s, reading.counter_uj, reading.power_w, self._tick_s, self._poll_s)
            return
        self.accumulator.add(reading)
        self.marks = [mark for mark in self.marks if mark > reading.time_s]
        fast = reading.counter_uj is None and reading.power_w is not None
        interval_s = min(POWER_INTERVAL_S, self._interval_s) if fast else self._interval_s
        self._next_s = (reading.time_s // interval_s + 1) * interval_s  # all devices in one go: waking costs most

    def _settle(self, watch: EdgeWatch) -> None:
        self._watch = None
        self._tick_s = watch.tick_s
        settled_s = watch.settled_until_s
        for mark in sorted(mark for mark in self.marks if mark <= settled_s):
            # An interpolated counter lies between the ones that were read.
            counter_uj = max(min(watch.counter_at(mark), watch.last_uj), self.accumulator.last_counter_uj or 0)
            self.accumulator.add(Reading(mark, counter_uj, watch.power_w))
        self.marks = [mark for mark in self.marks if mark > settled_s]
        self._next_s = 0.0
