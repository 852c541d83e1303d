"""The power of each piece of a timeline, by non-negative least squares on the deltas between points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from collapse_ray.energy.timeline import Piece

Parts = list[tuple[int, float]]
"""The pieces that an interval meets, by index, with the seconds of each."""


@dataclass(frozen=True)
class Powers:
    """Power of each piece in microjoules per second, and how well it explains the deltas."""

    power_uj_s: np.ndarray
    residual: float
    """Norm of what is unexplained over the norm of the deltas, in [0, 1]."""
    spread: float
    """Median relative error of the model on one delta."""


def overlaps(times_s: np.ndarray, pieces: Sequence[Piece]) -> list[Parts]:
    """The measured parts of each interval between ascending times (N,); N - 1 of them."""
    begins = np.array([piece.begin_s for piece in pieces])
    first = np.clip(np.searchsorted(begins, times_s[:-1], side="right") - 1, 0, None)
    return [
        [part for part in _walk(int(index), float(begin_s), float(end_s), pieces) if pieces[part[0]].measured]
        for index, begin_s, end_s in zip(first, times_s[:-1], times_s[1:], strict=True)
    ]


def anyway(begin_s: float, end_s: float, pieces: Sequence[Piece]) -> Parts:
    """The parts of an interval, measured or not: where a series counted energy that its gaps deny."""
    return _walk(0, begin_s, end_s, pieces)


def _walk(index: int, begin_s: float, end_s: float, pieces: Sequence[Piece]) -> Parts:
    parts = []
    while index < len(pieces) and pieces[index].begin_s < end_s:
        seconds = min(end_s, pieces[index].end_s) - max(begin_s, pieces[index].begin_s)
        if seconds > 0:
            parts.append((index, seconds))
        index += 1
    return parts


def fit_powers(deltas_uj: np.ndarray, met: list[Parts], pieces: Sequence[Piece]) -> Powers | None:
    """Solve `deltas = seconds @ powers`, one power per load.

    A piece with deltas all its own takes its power from them too, so that one generation may draw more than another.

    Returns:
        None where there are fewer independent deltas than loads, or no solution is found.
    """
    loads = {load: index for index, load in enumerate(dict.fromkeys(pieces[i].load for row in met for i, _ in row))}
    if not loads:
        return None  # scipy's nnls ends the process when it is given no columns
    seconds_NL = np.zeros((len(met), len(loads)))
    for row, parts in enumerate(met):
        for index, seconds in parts:
            seconds_NL[row, loads[pieces[index].load]] += seconds
    if np.linalg.matrix_rank(seconds_NL) < len(loads):
        return None
    try:
        power_L, norm = nnls(seconds_NL, deltas_uj.astype(float), maxiter=100 * len(loads))
    except RuntimeError:  # too many iterations: what it has is no solution
        return None
    known = deltas_uj > 0
    error_N = np.abs(seconds_NL @ power_L - deltas_uj)[known] / deltas_uj[known]
    size = float(np.linalg.norm(deltas_uj))
    pooled = np.array([power_L[loads[piece.load]] if piece.load in loads else 0.0 for piece in pieces])
    return Powers(
        power_uj_s=_own_powers(deltas_uj, met, pooled),
        residual=float(norm) / size if size else 0.0,
        spread=float(np.median(error_N)) if known.any() else 0.0,
    )


def _own_powers(deltas_uj: np.ndarray, met: list[Parts], pooled: np.ndarray) -> np.ndarray:
    """The mean of the deltas that lie within a piece, with the pooled power counted as one more delta."""
    energy, seconds = np.zeros(len(pooled)), np.zeros(len(pooled))
    for delta, row in zip(deltas_uj, met, strict=True):
        if len(row) == 1:
            energy[row[0][0]] += delta
            seconds[row[0][0]] += row[0][1]
    typical_s = float(np.median([sum(part for _, part in row) for row in met])) if met else 0.0
    total_s = seconds + typical_s
    return np.divide(energy + pooled * typical_s, total_s, out=pooled.copy(), where=total_s > 0)
