"""From single reads of a device to its series: counters that restart, power that fills in, gaps that are said.

The state is what is known since the counter last moved: `base` microjoules up to there, and the `pending` ones that
power integrates to since. A healthy counter replaces `pending` by its own delta; where it cannot be read, the sum of
both is shown; when it returns, its delta is the truth again, and the series, which never decreases, waits for it.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace

from collapse_ray.energy.series import Device, Gap, Point, Quality, Series
from collapse_ray.energy.source import Reading

STUCK_S = 3.0
"""A counter that stands still for longer than this while the device draws power is not believed."""

PLAUSIBLE_W = 2000.0
"""More than any one GPU or CPU draws: a restarted counter above this rate did not restart at zero."""

UJ_PER_J = 1_000_000

RESTARTED = "the meter was restarted"
"""Reason of the gap between two meters of one node."""


@dataclass(frozen=True)
class CrossCheck:
    """Joules of one device over the same intervals: from its counter, and from its power by the trapezoid rule.

    Power sampled at 1 Hz aliases (reference: Yang et al. 2024, "Part-time power measurements"), so a difference in one
    window means little; one that stays over hours means that counter and power have different scopes or scales.
    """

    counter_j: float
    integrated_j: float


@dataclass(frozen=True)
class Before:
    """How far another meter had come with a device: the counter then, None where it could not be continued."""

    time_s: float
    counter_uj: int | None


class Accumulator:
    """Builds the series of one device.

    Args:
        device: Whose series it is.
        quality: What to call joules from its counter: `counter`, or `estimated`.
        max_step_s: Power reads further apart than this are not integrated: the device was not seen in between.
        before: Where the series of an earlier meter ended, which this one continues: the time since then is a gap, and
            the first delta starts at the old counter. A counter that went back since then is one that restarted.
    """

    def __init__(self, device: Device, quality: Quality, max_step_s: float, before: Before | None = None) -> None:
        self.series = Series(device)
        self._quality: Quality = quality
        self._max_step_s = max_step_s
        self._last: Reading | None = None  # the last read that gave something
        self._counter: tuple[float, int] | None = None  # the last counter value, and when it was first seen
        self._counter_seen_s = 0.0
        self._base_uj = 0
        self._pending_uj = 0
        self._shown_uj = 0
        self._stuck = False
        self._exact = False  # of the reading that is being added
        self._lost: tuple[float, str] | None = None
        self._check_uj = (0, 0)
        if before is not None:
            self._lost = (before.time_s, RESTARTED)
            if before.counter_uj is not None:
                self._counter = (before.time_s, before.counter_uj)
                self._counter_seen_s = before.time_s
                self.series.points.append(Point(before.time_s, 0, quality, before.counter_uj))

    @property
    def open_gap(self) -> tuple[float, str] | None:
        """Since when the device cannot be read, and why; None while it can."""
        return self._lost

    @property
    def last_counter_uj(self) -> int | None:
        return None if self._counter is None else self._counter[1]

    @property
    def cross_check(self) -> CrossCheck | None:
        counter_uj, integrated_uj = self._check_uj
        return CrossCheck(counter_uj / UJ_PER_J, integrated_uj / UJ_PER_J) if integrated_uj else None

    def forget(self, before_s: float) -> None:
        """Drops what lies before that time, but for the point that tells the energy then."""
        points, gaps = self.series.points, self.series.gaps
        del points[: max(0, bisect_right(points, before_s, key=lambda point: point.time_s) - 1)]
        if gaps and gaps[0].end_s < before_s:
            gaps[:] = [gap for gap in gaps if gap.end_s >= before_s]

    def add(self, reading: Reading, exact: bool = False) -> None:
        """Takes the next read, later than all before; `exact` where its counter was true at that time."""
        self._exact = exact
        if reading.counter_uj is None and reading.power_w is None:
            if self._lost is None:
                begin_s = reading.time_s if self._last is None else self._last.time_s
                self._lost = (begin_s, reading.fault or "no reading")
            return
        power_uj = self._trapezoid_uj(reading)
        if reading.counter_uj is None:
            self._add_power(reading, power_uj)
        elif self._counter is None:
            self._start_counter(reading, power_uj)
        elif reading.counter_uj < self._counter[1] or reading.restarted:
            self._restart_counter(reading, self._counter, power_uj)
        else:
            self._add_counter(reading, self._counter, power_uj)
        self._last = reading

    def _trapezoid_uj(self, reading: Reading) -> int | None:
        """Energy since the read before by the trapezoid rule; None where power was not seen at both ends."""
        last = self._last
        if last is None or last.power_w is None or reading.power_w is None or self._lost is not None:
            return None
        step_s = reading.time_s - last.time_s
        if step_s > self._max_step_s:
            return None
        return round((last.power_w + reading.power_w) / 2 * step_s * UJ_PER_J)

    def _add_power(self, reading: Reading, power_uj: int | None) -> None:
        if power_uj is None:
            self._close_gap(reading, bridged=False)
        self._pending_uj += power_uj or 0
        self._show(reading, self._base_uj + self._pending_uj, "integrated")

    def _start_counter(self, reading: Reading, power_uj: int | None) -> None:
        """The first counter read: what power gave before it stays, and the counter goes on from there."""
        self._close_gap(reading, bridged=False)
        self._base_uj = self._shown_uj + (power_uj or 0)
        self._moved(reading)
        self._show(reading, self._base_uj, "integrated" if power_uj else self._quality)

    def _add_counter(self, reading: Reading, counter: tuple[float, int], power_uj: int | None) -> None:
        assert reading.counter_uj is not None
        delta_uj = reading.counter_uj - counter[1]
        self._bridge(since_s=self._counter_seen_s)
        self._close_gap(reading, bridged=True)
        self._pending_uj += power_uj or 0
        if power_uj is not None:
            self._check_uj = (self._check_uj[0] + delta_uj, self._check_uj[1] + power_uj)
        self._counter_seen_s = reading.time_s
        quality = self._quality
        if delta_uj == 0:
            self._stuck = self._stuck or (reading.time_s - counter[0] > STUCK_S and self._pending_uj > 0)
            if self._stuck:
                quality = "integrated"
        else:
            # A counter that stood still for long and then moves on did not count what the device used meanwhile.
            self._base_uj += max(delta_uj, self._pending_uj) if self._stuck else delta_uj
            self._moved(reading)
        self._show(reading, self._base_uj + (self._pending_uj if self._stuck else 0), quality)

    def _restart_counter(self, reading: Reading, counter: tuple[float, int], power_uj: int | None) -> None:
        """The counter went back, or its driver was loaded anew: its difference to the value before means nothing.

        Power tells the energy in between where it was read throughout. Otherwise the counter, which begins at zero when
        the driver is loaded, tells what was used since: less than the truth, never more.
        """
        assert reading.counter_uj is not None
        seen_s = self._counter_seen_s
        gaps = self.series.gaps
        inside = [(gap.begin_s, gap.reason) for gap in gaps if gap.begin_s >= seen_s]
        whole = power_uj is not None and not inside
        since_load_uj = reading.counter_uj
        if since_load_uj > PLAUSIBLE_W * UJ_PER_J * (reading.time_s - counter[0]):
            since_load_uj = 0
        if reading.counter_uj >= counter[1] and since_load_uj == 0:
            self._add_counter(reading, counter, power_uj)  # the driver came back, and its counter went on
            return
        self._base_uj += max(self._pending_uj + (power_uj or 0), 0 if whole else since_load_uj)
        lost = [*inside, *([self._lost] if self._lost else []), (seen_s, "the energy counter went back")]
        gaps[:] = [*(gap for gap in gaps if gap.begin_s < seen_s), Gap(lost[0][0], reading.time_s, lost[0][1], whole)]
        self._lost = None
        self._moved(reading)
        self._show(reading, self._base_uj, "integrated")

    def _moved(self, reading: Reading) -> None:
        assert reading.counter_uj is not None
        self._counter = (reading.time_s, reading.counter_uj)
        self._counter_seen_s = reading.time_s
        self._pending_uj = 0
        self._stuck = False

    def _bridge(self, since_s: float) -> None:
        """The counter is back: its delta holds what was used in every gap since it was last read."""
        gaps = self.series.gaps
        gaps[:] = [replace(gap, bridged=True) if gap.begin_s >= since_s else gap for gap in gaps]

    def _close_gap(self, reading: Reading, bridged: bool) -> None:
        if self._lost is not None:
            begin_s, reason = self._lost
            self.series.gaps.append(Gap(begin_s, reading.time_s, reason, bridged))
            self._lost = None
        elif self._last is not None and not bridged and reading.time_s - self._last.time_s > self._max_step_s:
            self.series.gaps.append(Gap(self._last.time_s, reading.time_s, "the meter was not run", bridged))

    def _show(self, reading: Reading, energy_uj: int, quality: Quality) -> None:
        self._shown_uj = max(self._shown_uj, energy_uj)
        counter_uj = reading.counter_uj if self._shown_uj == self._base_uj else None
        self.series.points.append(Point(reading.time_s, self._shown_uj, quality, counter_uj, self._exact))
