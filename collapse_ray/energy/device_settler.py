"""How far one device is told, and the next step: see `settle`."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from collapse_ray.energy.accounts import Account, Accounts
from collapse_ray.energy.apportion import apportion
from collapse_ray.energy.attribution import attribute, period_s
from collapse_ray.energy.foreign import at_marks
from collapse_ray.energy.marks import Mark, Usage
from collapse_ray.energy.series import Device, Gap, Point, Series
from collapse_ray.energy.timeline import Piece, build_timeline

SETTLE_S = 2.0
"""A boundary without a point of its own waits this long for reads behind it, which tell the power there."""
NEAR_S = 0.01
"""Reads of a counter that is always current tell what it was that long before, to a joule for a step of 100 W."""
HISTORY_S = 60.0
"""What was told is kept for this long, to learn powers and ticks from."""
MAX_POINTS = 300
"""No more points than these are learnt from: work of a tenth of a second is marked this often in half a minute."""
MAX_MARKS = 1000
"""Marks that have ended are kept while their device cannot be read, in case its counter returns; no more than these."""

OpenGap = tuple[float, str]
"""Since when a device cannot be read, and why."""


@dataclass(frozen=True)
class Increment:
    """What became final of one device, in seconds of the node's monotonic clock."""

    device: Device
    begin_s: float
    end_s: float
    accounts: Accounts
    """Energy, time, and the gaps that ended in the interval or go on, as far as they lie in it."""
    point: Point | None
    """Up to where energy is told; None where the device was never read."""


@dataclass
class DeviceSettler:
    """How far one device is told."""

    device: Device
    point: Point | None = None
    """All energy up to here is told."""
    told_s: float | None = None
    """All time up to here is told: later than the point where the device could not be read since."""
    _open: dict[Hashable, Mark] = field(default_factory=dict)
    _ended: list[Mark] = field(default_factory=list)
    _bounds_s: list[float] = field(default_factory=list)  # boundaries of marks in what is not told, ascending
    _piece: Piece | None = None  # the last that was booked, where no boundary has come since

    def begin(self, token: Hashable, mark: Mark) -> None:
        """Work begins."""
        self._open[token] = mark
        self._bound(mark.begin_s)

    def end(self, token: Hashable, time_s: float) -> None:
        """The work of a token ends."""
        mark = self._open.pop(token)
        self._ended.append(replace(mark, end_s=max(mark.begin_s, time_s)))
        self._bound(time_s)

    def unsure_from_s(self, series: Series, now_s: float) -> float:
        """The first boundary whose reads are awaited; infinite where there is none."""
        return next((time_s for time_s in self._crossed(series) if now_s - time_s < SETTLE_S), math.inf)

    def settle(
        self, series: Series, until_s: float, open_gap: OpenGap | None, usage: Sequence[Usage]
    ) -> Increment | None:
        """Tells the energy up to the last point that is not later than `until_s`."""
        points = series.points
        if self.told_s is None:
            begins = [item.time_s for item in points[:1]] + [gap.begin_s for gap in series.gaps[:1]]
            self.told_s = min([*begins, open_gap[0]] if open_gap else begins, default=None)
        index = bisect_right(points, until_s, key=_time_s) - 1
        if index < 0 or self.told_s is None:
            return None
        first, last, told_s = self.point or points[0], points[index], self.told_s
        self.point = first
        if last.time_s <= first.time_s:
            return None
        if self._is_plain(series, last, told_s, usage):
            accounts = self._book(first, points[bisect_right(points, first.time_s, key=_time_s) : index + 1])
        else:
            accounts = self._attribute(series, last, told_s, usage)
        self.point = last
        self._advance(max(last.time_s, told_s), series)
        if series.gaps:
            accounts.gaps = {self.device.uuid: _ended_in(series.gaps, told_s, self.told_s)}
        return Increment(self.device, told_s, self.told_s, accounts, last)

    def tell_unmeasured(
        self, series: Series | None, until_s: float, open_gap: OpenGap | None, patience_s: float
    ) -> Increment | None:
        """Tells time that no point covers, once there is more than `patience_s` of it."""
        points = series.points if series is not None else ()
        if self.told_s is None:
            self.told_s = min((mark.begin_s for mark in (*self._open.values(), *self._ended)), default=None)
        told_s = self.told_s
        if told_s is None or until_s - told_s <= patience_s:
            return None
        if points and (open_gap is None or told_s < points[-1].time_s):
            return None
        accounts = Accounts()
        for piece in build_timeline(self.device, self._marks(told_s, until_s), (), (), (told_s, until_s)):
            for key in {owner.key for owner in piece.owners}:
                if key.kind != "idle" or open_gap is not None:
                    accounts.open(key).unmeasured_s += piece.duration_s
        if open_gap is not None:
            accounts.gaps[self.device.uuid] = [Gap(told_s, until_s, open_gap[1], bridged=False)]
        self._advance(until_s, series)
        return Increment(self.device, told_s, until_s, accounts, self.point) if accounts.accounts else None

    def _bound(self, time_s: float) -> None:
        self._piece = None
        self._bounds_s.insert(bisect_left(self._bounds_s, time_s), time_s)

    def _marks(self, begin_s: float, end_s: float) -> list[Mark]:
        marks = (*self._ended, *self._open.values())
        return [mark for mark in marks if mark.begin_s < end_s and mark.end_s > begin_s]

    def _crossed(self, series: Series) -> list[float]:
        """Boundaries that no point tells, in energy that is not told yet: a point may show that of up to a tick ago."""
        if not self._bounds_s:
            return []
        told_s = -math.inf if self.point is None else self.point.time_s - _lag_s(series, self.point)
        return [time_s for time_s in self._bounds_s if time_s > told_s and not _tells(series, time_s)]

    def _is_plain(self, series: Series, last: Point, told_s: float, usage: Sequence[Usage]) -> bool:
        """Whether each delta up to a point lies between two changes of owner, and all of it is measured."""
        assert self.point is not None
        first_s, last_s = self.point.time_s, last.time_s
        if told_s != first_s:
            return False
        if usage or series.gaps:
            unseen = [gap for gap in series.gaps if not gap.bridged]
            if any(one.end_s > first_s and one.begin_s < last_s for one in (*usage, *unseen)):
                return False
        return not any(time_s < last_s for time_s in self._crossed(series))

    def _book(self, first: Point, points: Sequence[Point]) -> Accounts:
        """Deltas that belong to one piece each, or to the next one for no more than `NEAR_S`."""
        accounts = Accounts()
        last_s = points[-1].time_s
        if self._piece is not None and not self._bounds_s:
            pieces = [replace(self._piece, begin_s=first.time_s, end_s=last_s)]
        else:
            pieces = build_timeline(self.device, self._marks(first.time_s, last_s), (), (), (first.time_s, last_s))
            self._piece = None if self._bounds_s else pieces[-1]
        for piece in pieces:
            for key in {owner.key for owner in piece.owners}:
                accounts.open(key).measured_s += piece.duration_s
        index, before = 0, first
        for point in points:
            while pieces[index].end_s <= before.time_s:
                index += 1
            owners = pieces[index].owners
            energy_uj = point.energy_uj - before.energy_uj
            parts = [energy_uj] if len(owners) == 1 else apportion(energy_uj, [owner.weight for owner in owners])
            for owner, part in zip(owners, parts, strict=True):
                accounts.open(owner.key).book(part, point.quality, pieces[index].rule)
            before = point
        return accounts

    def _attribute(self, series: Series, last: Point, told_s: float, usage: Sequence[Usage]) -> Accounts:
        """Energy since the point, and time since `told_s`."""
        assert self.point is not None
        first_s, points = self.point.time_s, series.points
        at = bisect_left(points, first_s, key=_time_s)
        since_s = max(first_s - HISTORY_S, points[max(0, at - MAX_POINTS)].time_s)
        recent = replace(series, points=points[bisect_left(points, since_s, key=_time_s) :])
        marks = self._marks(since_s, math.inf)
        usage = list(at_marks([one for one in usage if one.end_s > since_s], marks))
        accounts = attribute(marks, [recent], usage, window=(first_s, last.time_s))
        if told_s != first_s:
            for _, account in accounts:
                account.measured_s = account.unmeasured_s = 0.0
            for key, account in attribute(marks, [recent], usage, window=(told_s, max(told_s, last.time_s))):
                accounts.open(key).add(Account({}, account.measured_s, account.unmeasured_s))
        return accounts

    def _advance(self, told_s: float, series: Series | None) -> None:
        """Time is told up to here; what is not needed any more is dropped."""
        self.told_s = told_s
        if self._bounds_s:
            lag_s = 0.0 if series is None or self.point is None else _lag_s(series, self.point)
            kept = [time_s for time_s in self._bounds_s if time_s > told_s - lag_s]
            if series is not None:
                kept = [time_s for time_s in kept if time_s > told_s or not _tells(series, time_s)]
            self._bounds_s = kept
        if self._ended:
            needed_s = (told_s if self.point is None else self.point.time_s) - HISTORY_S
            self._ended = [mark for mark in self._ended if mark.end_s > needed_s][-MAX_MARKS:]


def _lag_s(series: Series, point: Point) -> float:
    """How old the energy of a point may be."""
    return 0.0 if point.exact else period_s(series) or 0.0


def _tells(series: Series, time_s: float) -> bool:
    """Whether a point tells the energy at that time."""
    index = bisect_left(series.points, time_s, key=_time_s)
    if index == len(series.points) or _lag_s(series, series.points[index]):
        return False
    return series.points[index].time_s - time_s <= (NEAR_S if period_s(series) is None else 0.0)


def _ended_in(gaps: Sequence[Gap], begin_s: float, end_s: float) -> list[Gap]:
    """Gaps that ended in (begin, end], as far as they lie in it."""
    return [replace(gap, begin_s=max(gap.begin_s, begin_s)) for gap in gaps if begin_s < gap.end_s <= end_s]


def _time_s(point: Point) -> float:
    return point.time_s
