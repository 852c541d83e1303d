"""When the energy that a counter shows was true: GPU counters stand still between ticks of some 100 ms.

A read at time t shows the energy at the last tick, up to one tick ago. Taken at face value, each stage gives its last
20 to 100 ms to the next: 50 ms of 300 W are 11 % of an idle stage of 2.2 s and 60 W. The ticks are periodic, so their
period and phase follow from which reads show a new value, and from how the energy of the deltas that cross a stage's
boundary fits the power on either side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCK_S = 20.0
"""Period and phase are fitted in blocks of about this length: over longer times clocks drift and drivers reload."""
_PERIODS = 1 + np.linspace(-0.003, 0.003, 41)  # as parts of the nominal tick
_PERIOD_STEP = _PERIODS[1] - _PERIODS[0]
_PHASES = np.arange(40) / 40
_FINE = np.linspace(-0.5, 0.5, 9)  # as parts of the steps of the grid
_FEW = 40
_JITTER_S = 0.003
"""Reads are timed to about this (a read of NVML takes 1 to 3 ms)."""
_HOPELESS = 40.0
"""Candidates whose pattern is exp(-20) as likely as the best one's are dropped before the energy is looked at."""


def stale(times_s: np.ndarray, energies_uj: np.ndarray, tick_s: float) -> np.ndarray:
    """Which reads show the value of the read before, because the counter has not ticked since.

    A value that stands for longer than two ticks is no stale read: the device drew nothing.
    """
    result = np.zeros(len(times_s), bool)
    shown_s = times_s[0]
    for index in range(1, len(times_s)):
        if energies_uj[index] == energies_uj[index - 1] and times_s[index] - shown_s < 2 * tick_s:
            result[index] = True
        else:
            shown_s = times_s[index]
    return result


def does_tick(times_s: np.ndarray, is_stale: np.ndarray, tick_s: float) -> bool:
    """Whether the reads (N,) agree with a tick of this length.

    They do where a value stands for near half a tick, or where, of the reads within half a tick of the one before, many
    show nothing new. A counter that is current, or ticks much faster, has neither; where few reads are that close,
    ticks are assumed.
    """
    shown_s = np.maximum.accumulate(np.where(is_stale, -np.inf, times_s))
    close = np.diff(times_s) < tick_s / 2
    stands = float((times_s - shown_s).max()) > 0.4 * tick_s
    return stands or int(close.sum()) < 4 or float(is_stale[1:][close].mean()) > 0.4


@dataclass(frozen=True)
class Reads:
    """Reads of a counter in ascending order, (N,) each."""

    times_s: np.ndarray
    energies_uj: np.ndarray
    is_stale: np.ndarray
    matters: np.ndarray
    """Whether it matters when exactly the energy was true: near the boundary of a stage."""


@dataclass(frozen=True)
class Model:
    """What is known of the power."""

    cumulated_uj: Callable[[np.ndarray], np.ndarray]
    """Modelled cumulated energy at times in seconds."""
    spread: float
    """Relative error of the model on one delta."""


def lags(reads: Reads, tick_s: float, model: Model | None = None) -> np.ndarray:
    """How long before each read (N,) its energy was true, in [0, tick]: the mean over the ticks that explain the reads.

    Every period and phase of a grid is weighted by its likelihood: of the pattern of new and stale reads, and of the
    energy between reads under the model. What nothing can tell, and what does not matter, stays half a tick.
    """
    times_s = reads.times_s
    result = np.full(len(times_s), tick_s / 2)
    since_s = np.diff(times_s, prepend=-np.inf)
    whole_s = times_s[-1] - times_s[0]
    number = max(1, round(whole_s / BLOCK_S))  # of equal length: a short rest would know little
    blocks = np.floor((times_s - times_s[0]) / (whole_s or 1.0) * number).clip(max=number - 1)
    for block in np.unique(blocks[reads.matters]):
        rows = np.flatnonzero(blocks == block)
        part = Reads(*(column[rows] for column in (times_s, reads.energies_uj, reads.is_stale, reads.matters)))
        result[rows] = _block_lags(part, since_s[rows], tick_s, model)
    return result


def _block_lags(reads: Reads, since_s: np.ndarray, tick_s: float, model: Model | None) -> np.ndarray:
    times_s, is_stale = reads.times_s, reads.is_stale

    def explain(periods_C: np.ndarray, phases_C: np.ndarray) -> tuple[np.ndarray, ...]:
        """The candidates worth keeping, with their misfit and lags."""
        misfit_C = ((periods_C / tick_s - 1) / 0.002) ** 2
        phase_s = (times_s[0] + times_s[-1]) / 2 + phases_C
        pattern_C, lag_CN = _pattern(times_s, since_s, is_stale, periods_C[:, None], phase_s[:, None])
        misfit_C += pattern_C
        kept = misfit_C < misfit_C.min() + _HOPELESS
        periods_C, phases_C, misfit_C, lag_CN = periods_C[kept], phases_C[kept], misfit_C[kept], lag_CN[kept]
        if model is not None and len(fresh) > 1:
            misfit_C += _energy_misfit(reads.energies_uj[fresh], times_s[fresh] - lag_CN[:, fresh], model)
        return periods_C, phases_C, misfit_C, lag_CN

    fresh = np.flatnonzero(~is_stale)
    periods_C = np.repeat(_PERIODS, len(_PHASES)) * tick_s
    periods_C, phases_C, misfit_C, lag_CN = explain(periods_C, np.tile(_PHASES, len(_PERIODS)) * periods_C)
    near = np.flatnonzero(misfit_C < misfit_C.min() + 9)  # three standard deviations
    if len(near) <= _FEW:
        # Reads that fall on the ticks themselves jump by a whole tick, which the coarse grid cannot place.
        fine_p, fine_s = (grid.ravel() * tick_s for grid in np.meshgrid(_FINE * _PERIOD_STEP, _FINE * _PHASES[1]))
        periods_C, phases_C = periods_C[near, None] + fine_p, phases_C[near, None] + fine_s
        _, _, misfit_C, lag_CN = explain(periods_C.ravel(), phases_C.ravel())
    weight_C = np.exp((misfit_C.min() - misfit_C) / 2)
    return weight_C @ lag_CN / weight_C.sum()


def _pattern(
    times_s: np.ndarray, since_s: np.ndarray, is_stale: np.ndarray, periods: np.ndarray, phases_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Misfit (C,) of ticks at `phases_s + k periods`, (C, 1) each, to which reads show a new value; lags (C, N).

    A new value needs a tick since the read before, a stale one excludes it. The misfit is the distance to the nearest
    phase that would do.
    """
    lag_CN = np.mod(times_s - phases_s, periods)
    early_CN, late_CN = lag_CN - since_s, periods - lag_CN
    short_CN = np.where(is_stale, np.minimum(-early_CN, lag_CN), np.minimum(early_CN, late_CN))
    misfit_C = (np.clip(short_CN, 0, None) ** 2).sum(axis=1) / _JITTER_S**2
    # Where the read tells that a tick came just before it, and the candidate puts it just after, believe the read.
    return misfit_C, np.where((early_CN > 0) & ~is_stale, np.where(late_CN < early_CN, 0.0, since_s), lag_CN)


def _energy_misfit(energies_uj: np.ndarray, true_s_CN: np.ndarray, model: Model) -> np.ndarray:
    """Misfit (C,) of the deltas between new values; logarithmic, as power may step anywhere inside a stage."""
    delta_N = np.diff(energies_uj)
    modelled_CN = np.diff(model.cumulated_uj(true_s_CN), axis=1)
    # A tenth of the mean, or a microjoule: the relative error of nothing is not infinite.
    floor_uj = max(delta_N.mean() / 10, 1.0)
    z_CN = (delta_N - modelled_CN) / (model.spread * np.maximum(delta_N, floor_uj))
    return 4 * np.log1p(z_CN**2 / 4).sum(axis=1)
