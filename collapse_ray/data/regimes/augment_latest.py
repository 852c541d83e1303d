"""A fixed real set beside samples of the latest generation only (also: synthetic augmentation)."""

from pydantic import Field

from collapse_ray.data.parts import count_or_all, fixed_real, pool_of, require_real_rows, samples_of
from collapse_ray.data.regime import PoolPlan, RegimeSpec


class Spec(RegimeSpec):
    """`num_real` fixed real rows and `num_synthetic` samples of generation t-1 (Alemohammad et al. 2023, MAD)."""

    num_real: int | None = Field(default=None, ge=1)
    """Real rows in every pool; None takes every real training row."""

    num_synthetic: int | None = Field(default=None, ge=1)
    """Samples of the latest generation in every pool after the first; None takes as many as real rows."""

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        real = fixed_real(seed, num_real, count_or_all(self.num_real, num_real))
        if generation == 1:
            return pool_of(real)
        num_latest = self.num_to_generate(generation=generation - 1, num_real=num_real)
        return pool_of(real, samples_of(generation - 1, num_latest))

    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        if self.num_synthetic is not None:
            return self.num_synthetic
        return count_or_all(self.num_real, num_real)

    def check(self, *, num_real: int, depth: int) -> None:
        require_real_rows("regime.num_real", count_or_all(self.num_real, num_real), num_real)
