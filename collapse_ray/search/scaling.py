"""The exponent of a scaling law, from arms that differ in the size of their pools."""

from collections.abc import Mapping

import numpy as np

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.series import STDERR, Replicate, Series

LOSS = "real_test_loss"
EXPONENT = "scaling_exponent"
MIN_SIZES = 3
"""Two points lie on every power law."""


def with_scaling_exponent(by_size: Mapping[int, Series]) -> Series:
    """The series of the largest pool, with the metric `scaling_exponent` added where all sizes have been evaluated.

    The exponent is the b of loss = a * size^-b: the least-squares slope of log loss on log size, for each seed and
    generation. Without an irreducible loss it is the exponent of the law (Dohmatob et al. 2024, "A Tale of Tails", see
    it change with the generation); with one it is the slope over these sizes. `scaling_exponent_stderr` is what the
    standard errors of the losses make of it. Absent where a loss is absent or not above 0.

    Args:
        by_size: training samples per generation -> arm; the arms have the same seeds and differ in size alone.

    Raises:
        InvalidInput: fewer than three sizes, sizes below 1, or arms of different seeds.
    """
    sizes = sorted(by_size)
    if len(sizes) < MIN_SIZES or sizes[0] < 1:
        raise InvalidInput(f"a scaling law needs arms of at least {MIN_SIZES} sizes of 1 sample or more; given {sizes}")
    seeds = {size: [replicate.seed for replicate in by_size[size].replicates] for size in sizes}
    if any(seeds[size] != seeds[sizes[0]] for size in sizes):
        raise InvalidInput(f"the arms of a scaling law need the same seeds in the same order; given {seeds}")
    centred = np.log(sizes) - np.mean(np.log(sizes))
    slope = -centred / (centred @ centred)
    largest = by_size[sizes[-1]]
    replicates = [
        _with_exponent(replicate, [by_size[size].replicates[number] for size in sizes], slope)
        for number, replicate in enumerate(largest.replicates)
    ]
    return Series(largest.payload, tuple(replicates))


def _with_exponent(replicate: Replicate, by_size: list[Replicate], slope: np.ndarray) -> Replicate:
    metrics = {
        generation: {**values, **_exponent([other.metrics.get(generation, {}) for other in by_size], slope)}
        for generation, values in replicate.metrics.items()
    }
    return Replicate(replicate.seed, metrics, replicate.diverged)


def _exponent(metrics: list[Mapping[str, float | None]], slope: np.ndarray) -> dict[str, float]:
    losses = [values.get(LOSS) for values in metrics]
    known = [loss for loss in losses if loss is not None and loss > 0]
    if len(known) < len(metrics):
        return {}
    exponent = {EXPONENT: float(slope @ np.log(known))}
    stderrs = [stderr for values in metrics if (stderr := values.get(LOSS + STDERR)) is not None]
    if len(stderrs) == len(known):
        exponent[EXPONENT + STDERR] = float(np.linalg.norm(slope * stderrs / known))
    return exponent
