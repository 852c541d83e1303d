"""The energy counter at a given time, to better than its tick.

A GPU's counter is updated about every 100 ms and stands still in between. Two reads, one at each end of a window, are
each up to one tick of energy off: 0.3 % of 30 s. The time stamps of NVML's field values are those of the query, not of
the update, so the update is found by reading: after a mark, the counter is polled until it moves. Its values before and
after belong to the edges of the tick that holds the mark, and power at the mark and at the edge tells how to divide it.

What remains: half a poll of timing (2.5 ms), and loads that change more than once within the tick that holds the mark.
"""

STILL_S = 0.5
"""A counter that has not moved for this long is not ticking: the device draws nothing, or the counter is stuck."""

_SURE = 0.08
"""Ticks of uncertainty with which it is still clear which tick an edge is."""

NUM_TICKS = 5
"""Ticks over which their length is measured: half a poll at each end of one would be 5 % of it."""

PURE = 0.06
"""Powers that differ by less than this share are the same; power sensors are good to 5 %."""


class EdgeWatch:
    """Polls of one counter after a mark; no I/O of its own.

    Read the counter at `due_s` and `feed` it until `done`; then `counter_at` gives the counter at any time from the
    mark to `settled_until_s`. The first watch of a device takes some ticks, to measure how long one is; later ones one.

    Args:
        time_s: Time of the first read, right after the mark.
        counter_uj: The counter then.
        power_w: Power then, if known.
        tick_s: Time between updates, when an earlier watch has measured it.
        poll_s: Time between reads.
    """

    def __init__(
        self, time_s: float, counter_uj: int, power_w: float | None, tick_s: float | None, poll_s: float
    ) -> None:
        self.tick_s = tick_s
        self.due_s = time_s + poll_s
        self.done = False
        self.power_w = power_w
        self.edge_power_w: float | None = None  # right after the edge
        self._poll_s = poll_s
        self._fastest_s = float("inf")
        self._first = (time_s, counter_uj)
        self._last = (time_s, counter_uj)
        self._before_uj = counter_uj
        self._edge: tuple[float, int] | None = None
        self._next_uj: int | None = None  # one tick after the edge
        self._num_ticks = 0  # seen since the edge
        self._unsure: tuple[float, int, int] | None = None  # a first edge seen late: about when, and the counter around
        self._moved_s = time_s

    @property
    def last_uj(self) -> int:
        """The counter when it was read last."""
        return self._last[1]

    @property
    def wants_power(self) -> bool:
        """The edge was just seen: power read now is that at the edge."""
        return self._edge is not None and self.edge_power_w is None

    @property
    def edge_s(self) -> float | None:
        """When the counter was last updated, as far as the watch saw."""
        return None if self._edge is None else self._edge[0]

    @property
    def has_moved(self) -> bool:
        """The counter did not stand still."""
        return self._last[1] != self._first[1]

    @property
    def tells(self) -> bool:
        """Whether it knows the counter at the mark: it saw an edge after it, or a counter that stands still."""
        return (self._edge is not None and self.tick_s is not None) or not self.has_moved

    @property
    def settled_until_s(self) -> float:
        if self._edge is None or self.tick_s is None:
            return self._last[0]
        return self._edge[0] if self._next_uj is None else self._edge[0] + self.tick_s

    def feed(self, time_s: float, counter_uj: int) -> None:
        """Takes the next read of the counter, which has not gone back."""
        last_s, last_uj = self._last
        self._fastest_s = min(self._fastest_s, time_s - last_s)
        if counter_uj != last_uj:
            late = time_s - last_s > 3 * max(self._poll_s, self._fastest_s)
            self._moved_s = time_s
            (self._moved_unseen if late else self._moved)((last_s + time_s) / 2, last_uj, counter_uj)
        self._last = (time_s, counter_uj)
        self.due_s = time_s + self._poll_s
        self.done = self.done or time_s - self._moved_s > STILL_S or time_s - self._first[0] > 4 * STILL_S

    def _moved_unseen(self, about_s: float, before_uj: int, after_uj: int) -> None:
        """A poll that came late does not tell when the counter moved: the next edge will."""
        if self.tick_s is None:
            self._edge, self._next_uj, self.edge_power_w, self._num_ticks = None, None, None, 0
        elif self._unsure is None:
            self._unsure = (about_s, before_uj, after_uj)

    def _moved(self, edge_s: float, before_uj: int, after_uj: int) -> None:
        if self._unsure is not None and self.tick_s is not None:
            about_s, self._before_uj, edge_uj = self._unsure
            ticks = max(1, round((edge_s - about_s) / self.tick_s))
            self._edge, self._next_uj = (edge_s - ticks * self.tick_s, edge_uj), after_uj if ticks == 1 else None
            self.done = True
        elif self._edge is None:
            self._before_uj, self._edge = before_uj, (edge_s, after_uj)
            self.done = self.tick_s is not None
        else:
            self._num_ticks += 1
            self._next_uj = after_uj if self._next_uj is None else self._next_uj
            if self._num_ticks == NUM_TICKS:
                self.tick_s = (edge_s - self._edge[0]) / NUM_TICKS
                self.done = True

    def counter_at(self, time_s: float) -> int:
        """The counter in microjoules, had it been updated at that time."""
        if self._edge is None or self.tick_s is None:
            (first_s, first_uj), (last_s, last_uj) = self._first, self._last
            return first_uj + round((last_uj - first_uj) * max(0.0, time_s - first_s) / max(last_s - first_s, 1e-9))
        edge_s, edge_uj = self._edge
        if self.tick_s < 3 * self._poll_s:  # it moves with every poll: it has no tick that could be seen
            read_s, read_uj = self._first
            slope = (edge_uj - read_uj) / max(edge_s - read_s, self._poll_s / 2)
            return round(read_uj - slope * max(0.0, read_s - time_s))
        if time_s > edge_s:
            assert self._next_uj is not None
            return edge_uj + round((self._next_uj - edge_uj) * min(1.0, (time_s - edge_s) / self.tick_s))
        mean_w = (edge_uj - self._before_uj) / 1e6 / self.tick_s
        left_j = energy_left_j(edge_s - time_s, self.tick_s, mean_w, self.power_w, self.edge_power_w)
        return edge_uj - round(left_j * 1e6)


class TickLength:
    """How long the ticks of a counter are: known the better, the longer they are watched.

    Args:
        poll_s: Time between reads: an edge lies anywhere between two of them.
    """

    def __init__(self, poll_s: float) -> None:
        self.tick_s: float | None = None
        self._between_s = poll_s / 6**0.5  # standard deviation of the time between two edges
        self._first_s = 0.0
        self._error = 0.0  # relative, of `tick_s`

    def seen(self, edge_s: float | None, tick_s: float | None) -> float | None:
        """Takes what a watch saw: an edge, and the length that it measured or was told.

        Returns:
            When another edge should be seen for the length to be known to a part in a thousand; None where it is.
        """
        if edge_s is None or tick_s is None:
            return None
        if self.tick_s is None:
            self.tick_s, self._first_s, self._error = tick_s, edge_s, self._between_s / (NUM_TICKS * tick_s)
            return edge_s + _SURE / self._error * tick_s
        ticks = (edge_s - self._first_s) / self.tick_s
        whole = round(ticks)
        # Which tick this is must be beyond doubt, else the ticks are counted from here.
        if whole * self._error > 1.2 * _SURE or abs(ticks - whole) > 3 * _SURE:
            self._first_s = edge_s
        elif whole > NUM_TICKS:
            self.tick_s = (edge_s - self._first_s) / whole
            self._error = self._between_s / (edge_s - self._first_s)
        return None


def energy_left_j(left_s: float, tick_s: float, mean_w: float, power_w: float | None, edge_w: float | None) -> float:
    """Energy used in the last `left_s` seconds before an edge of the counter.

    One jump of power is assumed in the tick, from `power_w` to `edge_w`; the mean says when. It holds for both kinds of
    sensors: those that see power as it is, and those that see the end of the last tick and hold it for the next. Where
    both powers agree and the mean does not, the jump came before the mark, and an instantaneous sensor has seen it.

    Args:
        left_s: Time from the mark to the edge; when longer than a tick, constant power is assumed.
        tick_s: Time between updates of the counter.
        mean_w: Power averaged over the tick before the edge, from the counter.
        power_w: Power read at the mark.
        edge_w: Power read at the edge.
    """
    if power_w is None or edge_w is None or left_s > tick_s or (_same(power_w, mean_w) and _same(edge_w, mean_w)):
        return mean_w * left_s
    if _same(power_w, edge_w):
        return min(edge_w * left_s, mean_w * tick_s)
    before_s = min(max((mean_w - edge_w) / (power_w - edge_w), 0.0), 1.0) * tick_s
    after_s = tick_s - before_s
    return min(edge_w * min(left_s, after_s) + power_w * max(0.0, left_s - after_s), mean_w * tick_s)


def _same(a_w: float, b_w: float) -> bool:
    return abs(a_w - b_w) <= PURE * max(a_w, b_w)
