"""What each joule was spent on: marks and series in, accounts out; pure, and exact to the microjoule.

Law: the accounts of a device sum to its counter deltas, `idle` and `foreign` included.

A delta between two points is assigned as follows.

1. Where GPU counters tick, its ends are put at the ticks that they show (`ticks`), not at the reads.
2. A delta within one piece of the timeline belongs to the owners of that piece (`timeline`): one (`exclusive`), or
   several (`sm_share`, `declared_fraction`, or `time` where nobody declared anything).
3. A delta that crosses a boundary is split by power times seconds of each side, powers from a non-negative
   least-squares fit over all deltas (`powers`; rule `least_squares`), where the deltas can tell the loads apart. Where
   they cannot (fewer independent deltas than loads: too few points, or stages always in the same proportion), by
   seconds (`time`).
4. Microjoules are whole: largest remainder.

So short stages need reads at the marks or several a second; then 3. decides about little. With sparse reads it decides
about much, and is far better than seconds: see the tests.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from collapse_ray.energy.accounts import Accounts, Rule
from collapse_ray.energy.apportion import apportion
from collapse_ray.energy.marks import AccountKey, Mark, Usage
from collapse_ray.energy.powers import Parts, Powers, anyway, fit_powers, overlaps
from collapse_ray.energy.series import Gap, Series
from collapse_ray.energy.ticks import Model, Reads, does_tick, lags, stale
from collapse_ray.energy.timeline import Piece, build_timeline

NVML_TICK_S = 0.1
"""NVML's energy counter ticks about every 100 ms (docs/gpu.md)."""
EDGE_S = 1.0
"""How much of a stage tells its power at its boundaries."""
_ROUNDS = 3
"""Powers and lags are fitted in turn; a further round moves lags by less than 0.1 ms."""

Window = tuple[float, float]


def attribute(
    marks: Iterable[Mark],
    series: Iterable[Series],
    usage: Iterable[Usage] = (),
    window: Window = (-math.inf, math.inf),
    tick_s: float | None = NVML_TICK_S,
    least_squares: bool = True,
) -> Accounts:
    """Assign every microjoule of the series to exactly one account.

    Args:
        marks: of all devices, on the clock of their device's node; those of devices without a series get accounts
            that are unmeasured.
        series: one per device.
        usage: SM time by process, where it is known.
        window: count the deltas whose later point lies in (begin, end], in seconds. All points and marks are used to
            tell powers and ticks, so consecutive windows add up, account by account, to the window over both.
        tick_s: period of the counters of GPUs whose series does not tell it, known to 0.3 %; None takes every read of
            every GPU as current.
        least_squares: False splits by seconds, for comparison.

    Returns:
        Accounts whose sum equals, for each device, the sum of the deltas in the window.
    """
    marks_of, usage_of = defaultdict(list), defaultdict(list)
    for mark in marks:
        marks_of[mark.key.device].append(mark)
    for sample in usage:
        usage_of[sample.device].append(sample)
    result = Accounts()
    for one in series:
        uuid = one.device.uuid
        result.add(
            _of_device(one, marks_of.pop(uuid, []), usage_of[uuid], window, period_s(one, tick_s), least_squares)
        )
    for mark in (mark for unmetered in marks_of.values() for mark in unmetered):
        seconds = min(mark.end_s, window[1]) - max(mark.begin_s, window[0])
        if seconds > 0:
            result.open(mark.key).unmeasured_s += seconds
    return result


def period_s(series: Series, default_s: float | None = NVML_TICK_S) -> float | None:
    """Time between updates of the device's counter; None where every read is current."""
    if series.device.kind != "gpu" or default_s is None:
        return None
    return (default_s if series.tick_s is None else series.tick_s) or None


def _of_device(
    series: Series,
    marks: Sequence[Mark],
    usage: Sequence[Usage],
    window: Window,
    tick_s: float | None,
    least_squares: bool,
) -> Accounts:
    result = Accounts()
    read_s = np.array([point.time_s for point in series.points])
    known = (float(read_s[0]), float(read_s[-1])) if len(read_s) else (math.inf, -math.inf)
    span = _span(known, marks, series.gaps, tick_s or 0.0)
    if span is None:
        return result
    coarse_s = float(np.median(np.diff(read_s))) if len(read_s) > 1 else math.inf
    edge_s = EDGE_S if coarse_s <= EDGE_S / 4 else None
    pieces = build_timeline(series.device, marks, usage, series.gaps, span, edge_s)
    _count_time(result, pieces, known, window)
    result.gaps[series.device.uuid] = [gap for gap in series.gaps if gap.end_s > window[0] and gap.begin_s < window[1]]
    if len(read_s) < 2:
        return result
    ends, met, powers = _fit(series, read_s, pieces, tick_s, least_squares)
    if powers is not None:
        result.residual[series.device.uuid] = powers.residual
    points = [series.points[index] for index in ends]
    for before, point, parts in zip(points, points[1:], met, strict=False):
        energy_uj = point.energy_uj - before.energy_uj
        if not window[0] < point.time_s <= window[1] or not (parts or energy_uj):
            continue
        shares = _share(parts or anyway(before.time_s, point.time_s, pieces), pieces, powers)
        for (key, rule), part in zip(shares, apportion(energy_uj, list(shares.values())), strict=True):
            result.open(key).book(part, point.quality, rule)
    return result


def _span(known: Window, marks: Sequence[Mark], gaps: Sequence[Gap], tick_s: float) -> Window | None:
    """All that points (their first one may show a tick before it), marks and gaps cover; open marks end with these."""
    begins = [known[0] - tick_s, *(item.begin_s for item in (*marks, *gaps))]
    ends = [known[1], *(item.end_s for item in (*marks, *gaps) if math.isfinite(item.end_s))]
    return (min(begins), max(ends)) if min(begins) < max(ends) else None


def _count_time(result: Accounts, pieces: Sequence[Piece], known: Window, window: Window) -> None:
    """Seconds under each key, by whether points cover them; a device is idle only where it was looked at."""
    for piece in pieces:
        begin_s, end_s = max(piece.begin_s, window[0]), min(piece.end_s, window[1])
        whole_s = max(0.0, end_s - begin_s)
        measured_s = max(0.0, min(end_s, known[1]) - max(begin_s, known[0])) if piece.measured else 0.0
        for key in {owner.key for owner in piece.owners}:
            if measured_s > 0:
                result.open(key).measured_s += measured_s
            looked_at = key.kind != "idle" or not piece.measured
            if whole_s > measured_s and looked_at:
                result.open(key).unmeasured_s += whole_s - measured_s


def _fit(
    series: Series, read_s: np.ndarray, pieces: Sequence[Piece], tick_s: float | None, least_squares: bool
) -> tuple[np.ndarray, list[Parts], Powers | None]:
    """Which points end the deltas, the pieces that each delta meets, and the powers of the pieces."""
    energies_uj = np.array([point.energy_uj for point in series.points], dtype=float)
    # Reads of a counter as it stood; what was interpolated between its ticks, or integrated, was true at its time.
    counted = np.array([point.quality == "counter" and not point.exact for point in series.points])
    reads = None
    is_stale = np.zeros(len(read_s), bool)
    if tick_s is not None and counted.any():
        told_s = {point.time_s for point in series.points if point.exact}
        bounds_s = [after.begin_s for before, after in pairwise(pieces) if before.owners != after.owners]
        unknown_s = [time_s for time_s in bounds_s if time_s not in told_s]
        reads = _reads(read_s[counted], energies_uj[counted], unknown_s, tick_s)
        if reads is not None:
            is_stale[counted] = reads.is_stale
    ends = np.flatnonzero(~is_stale)
    deltas_uj = np.diff(energies_uj[ends])
    true_s, model = read_s.copy(), None
    met, powers = [], None
    for _ in range(_ROUNDS):
        if tick_s is not None and reads is not None:
            true_s[counted] = reads.times_s - lags(reads, tick_s, model)
            true_s = np.maximum.accumulate(true_s)
        met = overlaps(true_s[ends], pieces)
        powers = fit_powers(deltas_uj, met, pieces) if least_squares else None
        if reads is None or powers is None:
            break
        model = _model(pieces, powers)
    return ends, met, powers


def _reads(times_s: np.ndarray, energies_uj: np.ndarray, bounds_s: Sequence[float], tick_s: float) -> Reads | None:
    """Reads of a counter that ticks, and which of them matter for the boundaries; None where it shows no such ticks."""
    is_stale = stale(times_s, energies_uj, tick_s)
    if not does_tick(times_s, is_stale, tick_s):
        return None
    matters = np.zeros(len(times_s), bool)
    near = np.searchsorted(times_s, bounds_s)
    for around in (-1, 0, 1):
        matters[np.clip(near + around, 0, len(times_s) - 1)] = True
    return Reads(times_s, energies_uj, is_stale, matters)


def _model(pieces: Sequence[Piece], powers: Powers) -> Model:
    cuts = np.array([pieces[0].begin_s, *(piece.end_s for piece in pieces)])
    cumulated_uj = np.concatenate([[0.0], np.cumsum(powers.power_uj_s * np.diff(cuts))])
    return Model(lambda times_s: np.interp(times_s, cuts, cumulated_uj), max(powers.spread, 0.01))


def _share(parts: Parts, pieces: Sequence[Piece], powers: Powers | None) -> dict[tuple[AccountKey, Rule], float]:
    """Weights of a delta's accounts."""
    seconds = [part for _, part in parts]
    weights = seconds if powers is None else [part * float(powers.power_uj_s[index]) for index, part in parts]
    crossing: Rule = "least_squares"
    if powers is None or sum(weights) <= 0:
        weights, crossing = seconds, "time"
    crosses = len({pieces[index].owners for index, _ in parts}) > 1
    result: dict[tuple[AccountKey, Rule], float] = defaultdict(float)
    for (index, _), weight in zip(parts, weights, strict=True):
        piece = pieces[index]
        whole = sum(owner.weight for owner in piece.owners)
        rule = crossing if crosses and piece.rule == "exclusive" else piece.rule
        for owner in piece.owners:
            result[owner.key, rule] += weight * owner.weight / whole
    return result
