"""Reads all devices of a node on time: once a second, and closely around marks. Has no thread of its own."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from collapse_ray.energy.accumulate import Accumulator, Before, CrossCheck
from collapse_ray.energy.edge import EdgeWatch, TickLength
from collapse_ray.energy.series import Device, Series
from collapse_ray.energy.source import Reading, Source

POLL_S = 0.005
POWER_INTERVAL_S = 0.1
"""Devices that have power alone are read at least this often: the rate at which sensors update."""
PROBE_S = 5.0
"""Where reads came too late to tell the length of a counter's ticks, this is tried again after that time."""
FIND_S = 30.0
"""Sources are asked this often whether devices have appeared."""

_Request = tuple[float, Collection[str] | None]


class Sampler:
    """Turns reads of every device of some sources into series.

    Call `step` at `due_s` from one thread; `mark` may be called from any.

    Args:
        sources: Where devices come from.
        interval_s: Time between reads of a device away from marks; below a minute, so that no RAPL counter wraps twice.
        now: Monotonic time in seconds.
        poll_s: Time between reads of a counter while its next update is awaited.
        before: By UUID, where the series of an earlier meter ended: they are continued.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        interval_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
        before: Mapping[str, Before] | None = None,
    ) -> None:
        self._sources = sources
        self._interval_s = interval_s
        self._now = now
        self._poll_s = poll_s
        self._before = before or {}
        self._lock = threading.Lock()
        self._queue: list[_Request] = []
        self._channels: dict[str, _Channel] = {}
        self._find_s = 0.0
        self._find()

    def devices(self) -> list[Device]:
        """Those found so far; any thread may ask."""
        return [channel.device for channel in list(self._channels.values())]

    def series(self) -> dict[str, Series]:
        """The series of every device so far, by UUID."""
        return {uuid: channel.accumulator.series for uuid, channel in self._channels.items()}

    def open_gaps(self) -> dict[str, tuple[float, str]]:
        """Since when and why devices cannot be read, by UUID; devices that can are absent."""
        gaps = {uuid: channel.accumulator.open_gap for uuid, channel in self._channels.items()}
        return {uuid: gap for uuid, gap in gaps.items() if gap is not None}

    def cross_checks(self) -> dict[str, CrossCheck]:
        """Counter against integrated power, by UUID, for devices that have both."""
        checks = {uuid: channel.accumulator.cross_check for uuid, channel in self._channels.items()}
        return {uuid: check for uuid, check in checks.items() if check is not None}

    def mark(self, time_s: float | None = None, devices: Collection[str] | None = None) -> float:
        """Asks for the energy at a moment, and returns the moment; never waits for a read.

        Args:
            time_s: The moment, now or lately: as somebody else took it; default: now.
            devices: UUIDs of those that are asked; default: all.
        """
        with self._lock:
            now_s = self._now()
            time_s = now_s if time_s is None else min(time_s, now_s)
            self._queue.append((time_s, devices))
        return time_s

    def settled(self, time_s: float) -> bool:
        """Every device was read up to the mark taken at that time."""
        with self._lock:
            marks = [mark for mark, _ in self._queue]
            marks += [mark for channel in self._channels.values() for mark in channel.marks]
        return all(mark > time_s for mark in marks)

    def due_s(self) -> float:
        """When `step` has something to do."""
        with self._lock:
            if self._queue:
                return self._queue[0][0]
        return min((channel.due_s for channel in self._channels.values()), default=self._find_s)

    def step(self) -> None:
        """Reads what is due."""
        self._hand_out_marks()
        for channel in self._channels.values():
            if channel.due_s <= self._now():
                channel.read()
                # A mark taken during the read lies before it, and must not find the series ahead of itself.
                self._hand_out_marks()
                channel.digest()
        if self._find_s <= self._now():
            self._find()

    def forget(self, before_s: Mapping[str, float]) -> None:
        """Lets go of what series hold before a time, by UUID, but for the point that tells the energy then."""
        for uuid, time_s in before_s.items():
            if uuid in self._channels:
                self._channels[uuid].accumulator.forget(time_s)

    def _find(self) -> None:
        """Takes in devices that have appeared; those that vanish stay, as gaps."""
        for source in self._sources:
            for device in source.devices():
                if device.uuid not in self._channels:
                    before = self._before.get(device.uuid)
                    self._channels[device.uuid] = _Channel(source, device, self._interval_s, self._poll_s, before)
        self._find_s = self._now() + FIND_S

    def _hand_out_marks(self) -> None:
        with self._lock:
            for time_s, devices in self._queue:
                for uuid, channel in self._channels.items():
                    if devices is None or uuid in devices:
                        channel.mark(time_s, self._now())
            self._queue.clear()


class _Channel:
    """One device: its series, its marks that wait for a read, and when it is to be read next."""

    def __init__(self, source: Source, device: Device, interval_s: float, poll_s: float, before: Before | None) -> None:
        self.device = device
        self.accumulator = Accumulator(device, source.quality, 3 * interval_s, before)
        self.marks: list[float] = []
        self._source = source
        self._interval_s = interval_s
        self._poll_s = poll_s
        self._next_s = 0.0
        self._ticks = TickLength(poll_s)
        self._watch: EdgeWatch | None = None
        self._reading: Reading | None = None
        if not source.ticks:
            self.accumulator.series.tick_s = 0.0

    @property
    def due_s(self) -> float:
        if self._watch is not None:
            return self._watch.due_s
        return min([self._next_s, *self.marks]) if self.marks else self._next_s

    def mark(self, time_s: float, now_s: float) -> None:
        """A mark that comes after a read that is later than itself is one of this moment: series only grow."""
        points = self.accumulator.series.points
        self.marks.append(now_s if points and time_s <= points[-1].time_s else time_s)

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
        is_marked = any(mark <= reading.time_s for mark in self.marks)
        if is_marked and self._source.ticks and reading.counter_uj is not None and not restarted:
            tick_s = self._ticks.tick_s
            self._watch = EdgeWatch(reading.time_s, reading.counter_uj, reading.power_w, tick_s, self._poll_s)
            return
        self.accumulator.add(reading)
        self.marks = [mark for mark in self.marks if mark > reading.time_s]
        fast = reading.counter_uj is None and reading.power_w is not None
        interval_s = min(POWER_INTERVAL_S, self._interval_s) if fast else self._interval_s
        self._next_s = (reading.time_s // interval_s + 1) * interval_s  # all devices in one go: waking costs most

    def _settle(self, watch: EdgeWatch) -> None:
        self._watch = None
        probe_s = self._ticks.seen(watch.edge_s, watch.tick_s)
        tick_s = self._ticks.tick_s
        if tick_s is None and watch.has_moved:  # polls came too late; the next marks should not have to do without
            probe_s = watch.due_s + PROBE_S
        # A counter that moves with every poll is as good as current.
        self.accumulator.series.tick_s = 0.0 if tick_s is not None and tick_s < 3 * self._poll_s else tick_s
        settled_s = watch.settled_until_s
        for mark in sorted({mark for mark in self.marks if mark <= settled_s}):
            # An interpolated counter lies between the ones that were read.
            counter_uj = max(min(watch.counter_at(mark), watch.last_uj), self.accumulator.last_counter_uj or 0)
            self.accumulator.add(Reading(mark, counter_uj, watch.power_w), exact=watch.tells)
        self.marks = [mark for mark in self.marks if mark > settled_s] + ([] if probe_s is None else [probe_s])
        self._next_s = 0.0
