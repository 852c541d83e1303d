"""How the margin at depth T rises with the fraction, and where it crosses the threshold: a Bayesian model of one arm.

With theta(x) the place of the frontier, a polynomial of the other axes, and u the fraction, all on unit axes:

    z(u, x)    = log(1 + c (u - theta(x)) / k) / c
    response_i = s z(u_i, x_i) + h_i B + epsilon_i,   epsilon_i ~ N(0, s^2 + sd_i^2),   B ~ N(0, 1)

k is how far from the frontier the mean has moved by one s, and c bends the curve: 0 is a line, c > 0 has diminishing
returns, as a fraction mostly has. s is how much lineages at one place differ; it may be larger on one side of the
frontier, log s = log s_0 + e tanh(z). sd_i and h_i are the own and the shared error of a forecast, 0 for a lineage that
went to the depth. The margin rises by construction (noisy monotone bisection).

It is no model of what happens far from the frontier: a response beyond a window about the threshold counts by its side
alone, with the probability Phi(+-(mean - bound) / s). So does a lineage of which only the outcome is known. What is
assumed: lineages are independent, and epsilon is symmetric within the window (z = 0 is then where half of the lineages
survive).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr

from collapse_ray.search.frontier.sampling import Density, sample

WINDOW = 1.5
"""Half width of the window, in units of s."""

MIN_VALUES = 3
"""So many of the responses, those nearest to the threshold, are always taken at their value."""

BEYOND = 0.25
"""How far outside the axis the frontier may lie: beyond its ends all lineages survive, or none does."""

TYPICAL_K = 0.15
SD_LOG_K = 1.3
MEAN_BEND = 0.3
SD_BEND = 0.7
SD_LOG_S = 0.5
SD_UNEVEN = 0.25
SD_SHIFT = 0.5
"""The prior: medians and standard deviations of k (1 % of the axis to twice its length) and c; standard deviations of
log s about the spread of the responses, of e, and of the shift of the frontier over another axis."""

STRAIGHT = 1e-3
"""A smaller c than this is no bend."""

MOST_BENT = -1 + 1e-12
FAR = 30.0
"""Where z stops: no response tells such values from larger ones."""


@dataclass(frozen=True)
class Observations:
    """What is known of N lineages of one arm.

    `units` (N, D), the fraction first; `values` (N,) margins at depth T; their errors `sds` (N,) and `shared_sds` (N,).
    `sides` (N,) is +1 or -1 where only the side of the bound `values` is known, 0 where the value is.
    """

    units: np.ndarray
    values: np.ndarray
    sds: np.ndarray
    shared_sds: np.ndarray
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def within(self, window: float) -> "Observations":
        """The same, with values farther than `window` from 0 known by their side only."""
        far = (self.sides == 0) & (np.abs(self.values) > window)
        return Observations(
            self.units,
            np.where(far, np.sign(self.values) * window, self.values),
            self.sds,
            self.shared_sds,
            np.where(far, np.sign(self.values), self.sides),
        )


@dataclass(frozen=True)
class Curves:
    """R draws from the posterior: coefficients of theta (R, C); k, c, s at the frontier, and e, each (R,)."""

    coefficients: np.ndarray
    k: np.ndarray
    bend: np.ndarray
    s: np.ndarray
    uneven: np.ndarray

    def frontier(self, others: np.ndarray, level: float = 0.0) -> np.ndarray:
        """Where z is `level`, at other axes (P, D-1): (R, P)."""
        return self.coefficients @ _polynomial(others).T + (self.k * np.expm1(self.bend * level) / self.bend)[:, None]

    def z(self, units: np.ndarray) -> np.ndarray:
        """At places (P, D): (R, P)."""
        return self.z_at(units[:, 0], _polynomial(units[:, 1:]))

    def z_at(self, fractions: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """At fractions (P,), and terms (P, C) of the other axes: (R, P)."""
        steps = (fractions - self.coefficients @ terms.T) / self.k[:, None]
        c = self.bend[:, None]
        return np.clip(np.log1p(np.maximum(c * steps, MOST_BENT)) / c, -FAR, FAR)

    def s_at(self, z: np.ndarray) -> np.ndarray:
        """Where the curve is z (R, P), (R, P)."""
        return self.s[:, None] * np.exp(self.uneven[:, None] * np.tanh(z))


@dataclass(frozen=True)
class Fit:
    """The posterior, and the window that it was taken with."""

    curves: Curves
    window: float
    num_values: int
    """Observations within the window."""


def fit(observations: Observations, rng: np.random.Generator) -> Fit:
    """The posterior given at least one observation; the window follows from a first fit with a wide one."""
    distances = np.sort(np.abs(observations.values[observations.sides == 0]))
    if not len(distances):
        return Fit(_posterior(observations, 1.0, rng), np.inf, 0)
    near = float(distances[: max(MIN_VALUES, len(observations) // 3)][-1])
    # Of lineages at the frontier itself a third is nearer to the threshold than 0.43 s.
    spread = max(2 * near, np.finfo(float).tiny)
    rough = _posterior(observations.within(near), spread, rng)
    window = max(WINDOW * float(np.median(rough.s)), float(distances[:MIN_VALUES][-1]))
    return Fit(_posterior(observations.within(window), spread, rng), window, int((distances <= window).sum()))


def _posterior(seen: Observations, spread: float, rng: np.random.Generator) -> Curves:
    """Draws of the parameters; `spread` is the typical s beforehand."""
    terms = _polynomial(seen.units[:, 1:])
    num_shifts = terms.shape[1] - 1
    is_side = seen.sides != 0

    def split(parameters: np.ndarray) -> tuple[Curves, np.ndarray]:
        theta, shifts, (log_k, bend, log_s, uneven, shared) = (
            (1 + 2 * BEYOND) * ndtr(parameters[:, :1]) - BEYOND,
            SD_SHIFT * parameters[:, 1 : 1 + num_shifts],
            parameters[:, 1 + num_shifts :].T,
        )
        bend = MEAN_BEND + SD_BEND * bend
        bend = np.where(np.abs(bend) < STRAIGHT, STRAIGHT, bend)
        k, s = TYPICAL_K * np.exp(SD_LOG_K * log_k), spread * np.exp(SD_LOG_S * log_s)
        return Curves(np.concatenate([theta, shifts], axis=1), k, bend, s, SD_UNEVEN * uneven), shared

    def log_likelihood(parameters: np.ndarray) -> np.ndarray:
        curves, shared = split(parameters)
        z = curves.z_at(seen.units[:, 0], terms)
        s = curves.s_at(z)
        mean = s * z + shared[:, None] * seen.shared_sds
        sd = np.hypot(s, seen.sds)
        off = (mean - seen.values) / sd
        values = -0.5 * off[:, ~is_side] ** 2 - np.log(sd[:, ~is_side])
        return values.sum(1) + log_ndtr(seen.sides[is_side] * off[:, is_side]).sum(1)

    return split(sample(Density(num_shifts + 6, log_likelihood), rng))[0]


def _polynomial(others: np.ndarray) -> np.ndarray:
    """Terms of theta at other axes (P, D-1) in [0, 1]: 1, and each axis to first and second order: (P, 2 D - 1)."""
    centred = others - 0.5
    return np.concatenate([np.ones((len(others), 1)), centred, 2 * centred**2], axis=1)
