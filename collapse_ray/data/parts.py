"""The pieces that regimes put pools together from."""

import math

import numpy as np
from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.noise import generator
from collapse_ray.data.regime import Part, PoolPlan, RegimeSpec


class SizedRegime(RegimeSpec):
    """A regime that holds the number of samples per generation fixed."""

    num_samples: int | None = Field(default=None, ge=1)
    """Real rows in generation 1, and samples that each generation makes where its regime wants no fewer; None takes
    every real training row."""

    def size(self, num_real: int) -> int:
        """The number of samples per generation, where `num_real` rows of real training data are available."""
        return count_or_all(self.num_samples, num_real)

    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        return self.size(num_real)

    def check(self, *, num_real: int, depth: int) -> None:
        require_real_rows("regime.num_samples", self.size(num_real), num_real)


def count_or_all(asked: int | None, num_real: int) -> int:
    """What was asked for; all real rows where nothing was."""
    return num_real if asked is None else asked


def require_real_rows(field: str, asked: int, num_real: int) -> None:
    """Refuses more real rows than there are.

    Raises:
        InvalidInput: `asked` is above `num_real`, or there is no real row at all.
    """
    if num_real == 0:
        raise InvalidInput("the source has no real training rows; at least one is needed. Give another source")
    if asked > num_real:
        raise InvalidInput(
            f"{field} is {asked}, but generation 1 trains on real rows only and the source has {num_real} of them; "
            f"give at most {num_real}, or leave it out to take all"
        )


def fixed_real(seed: int, num_real: int, count: int, *, skip: int = 0) -> Part:
    """Real rows [skip, skip + count) of one permutation that every regime and every generation of a seed shares.

    Hence generation 1 is the same pool under all regimes, fewer rows are always a subset of more, and different
    slices never meet.
    """
    if count == num_real and skip == 0:
        return Part(0, np.arange(num_real, dtype=np.int64))
    rows = generator(seed, 0, "real-subset").permutation(num_real)[skip : skip + count]
    return Part(0, np.sort(rows))


def samples_of(generation: int, count: int) -> Part:
    """The first `count` samples that a generation made."""
    return Part(generation, np.arange(count, dtype=np.int64))


def pool_of(*parts: Part, asked_real_fraction: float | None = None, real_weight: float | None = None) -> PoolPlan:
    """A plan of the parts that have rows."""
    return PoolPlan(
        tuple(part for part in parts if len(part.rows)),
        asked_real_fraction=asked_real_fraction,
        real_weight=real_weight,
    )


def num_mixed_real(num_samples: int, real_fraction: float) -> int:
    """Real rows in a mix of `num_samples`, halves rounded up: at most half a row from what was asked."""
    return math.floor(num_samples * real_fraction + 0.5)


def mixed_pool(seed: int, generation: int, num_real: int, num_samples: int, real_fraction: float) -> PoolPlan:
    """Real rows only in generation 1; after it `real_fraction` of fixed real rows, the rest from the generation before.

    The real rows of a mix are the same in every generation, and those of a smaller fraction are among those of a
    larger one.
    """
    if generation == 1:
        return pool_of(fixed_real(seed, num_real, num_samples))
    num_mixed = num_mixed_real(num_samples, real_fraction)
    return pool_of(
        fixed_real(seed, num_real, num_mixed),
        samples_of(generation - 1, num_samples - num_mixed),
        asked_real_fraction=real_fraction,
    )
