"""Tests that stay valid although one looks after every generation: confidence sequences for contrasts of generations.

Look k = 1, 2, ... is an ordinary test at the level alpha / (k (k + 1)). These sum to alpha, so by Bonferroni's
inequality a series that deserves no alarm raises one at any of its looks, however many there are and however they
depend on each other, with a probability of at most alpha (error spending, Lan & DeMets 1983; Howard et al. 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", refine it by stitching). Mixture martingales, such
as Robbins' normal mixture, gain on it by averaging over generations. Here every look compares with the same
generation 1, whose noise no average removes, and collapse grows, so that the latest generation says most:
docs/verdicts.md has the delays of both.

One look is a t test that pools the spread between replicates over the generations seen so far:

    s_i^2 = variance between the S replicates at generation i,   MS_t = mean of s_i^2 over i <= t,
    sum_i w_i mean_s(x_si) has the variance  |w|^2 MS_t / S   with  (S - 1) t  degrees of freedom.

- Noise that is independent between generations and replicates: exact (Student's t) for Gaussian noise, at any S >= 2.
- Replicates that differ for good (other real rows, say): conservative, as a lasting difference cancels in a contrast
  and still counts in s_i^2.
- Noise handed down, fading at any rate (an anchored lineage: `mix`, `fresh`): conservative, by simulation. s_i^2 holds
  all of the noise, the contrast only what has changed since.
- A random walk, whose s_i^2 grows: MS_t is right on average, but has fewer degrees of freedom than are counted. By
  simulation within the level for 20 generations of 3 replicates or more; above it, by up to the same again, for 2
  replicates, or for hundreds of generations of fewer than 5.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Estimates of one contrast after each generation, and what is known of their errors.

    All arrays are (..., T); leading axes are separate lineages. An error that is not known is None; where both are
    known, both count: an interval is the wider, a p-value the larger of the two.
    """

    value: np.ndarray
    replicate_stderr: np.ndarray | None
    """From the spread between replicates; 0 with 0 `degrees` where they never differed."""
    degrees: np.ndarray
    """Degrees of freedom of `replicate_stderr`."""
    sampling_stderr: np.ndarray | None
    """From known variances, such as a metric's own sampling error."""

    def p_above(self, limit: float) -> np.ndarray:
        """P-value (..., T) of "the truth is at most `limit`", one look by itself; 1 where no error is known."""
        return self._p_value(self.value - limit)

    def p_below(self, limit: float) -> np.ndarray:
        """P-value (..., T) of "the truth is at least `limit`", one look by itself; 1 where no error is known."""
        return self._p_value(limit - self.value)

    def margin(self, level: np.ndarray) -> np.ndarray:
        """Half-width (..., T): below `value - margin` lies the truth with a probability of at most `level` (T,)."""
        margins = [-stdtrit(degrees, level) * stderr for stderr, degrees in self._errors()]
        return np.max([np.where(np.isnan(margin), np.inf, margin) for margin in margins], axis=0)

    def _p_value(self, excess: np.ndarray) -> np.ndarray:
        p_values = []
        for stderr, degrees in self._errors():
            # An excess of 0 over an error of 0 says nothing: NaN, then 1.
            with np.errstate(divide="ignore", invalid="ignore"):
                p_value = stdtr(degrees, -excess / stderr)
            p_values.append(np.where(np.isnan(p_value), 1.0, p_value))
        return np.max(p_values, axis=0)

    def _errors(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each known error and its degrees of freedom: infinite for a known variance, NaN where replicates agree."""
        errors = []
        if self.replicate_stderr is not None:
            errors.append((self.replicate_stderr, np.where(self.degrees > 0, self.degrees, np.nan)))
        if self.sampling_stderr is not None:
            errors.append((self.sampling_stderr, np.full_like(self.sampling_stderr, np.inf)))
        return errors or [(np.full_like(self.value, np.nan), np.full_like(self.value, np.nan))]


def contrasts(values: np.ndarray, weights: np.ndarray, variances: np.ndarray | None, *, known: bool) -> Contrasts:
    """One contrast after each generation of one or many lineages.

    Args:
        values: (..., S, T), one value for each of S replicates and T generations.
        weights: (T, T); row t weighs the generations for the look after generation t, later ones by 0.
        variances: (..., S, T), the known variance of each value; None where it is not known.
        known: the variances are all of the noise; the spread between replicates is not looked at.

    Returns:
        What is known after each generation, from this generation and those before it only.
    """
    num_replicates, num_generations = values.shape[-2:]
    value = values.mean(axis=-2) @ weights.T
    sampling_stderr = replicate_stderr = None
    degrees = np.zeros_like(value)
    if variances is not None:
        sampling_stderr = np.sqrt(variances.mean(axis=-2) @ (weights**2).T / num_replicates)
    if num_replicates > 1 and not known:
        spread = values.var(axis=-2, ddof=1)
        pooled = np.cumsum(spread, axis=-1) / np.arange(1, num_generations + 1)
        replicate_stderr = np.sqrt(pooled * (weights**2).sum(axis=1) / num_replicates)
        # Replicates that share a generation (trained once on the same real rows) measure no spread there.
        degrees = (num_replicates - 1.0) * np.cumsum(np.ptp(values, axis=-2) > 0, axis=-1)
    return Contrasts(value, replicate_stderr, degrees, sampling_stderr)


def spent(rate: float, look: np.ndarray) -> np.ndarray:
    """Level of the looks k >= 1: rate / (k (k + 1)), which sums to `rate`."""
    return rate / (look * (look + 1))


def adjusted(p_value: np.ndarray, look: np.ndarray) -> np.ndarray:
    """P-values (..., T) that may be compared with the whole rate at every look; 1 for looks k < 1."""
    return np.where(look >= 1, np.minimum(p_value * look * (look + 1), 1.0), 1.0)
