"""Each generation trains only on samples of the one before (also: discard, fully synthetic)."""

from collapse_ray.data.parts import SizedRegime, fixed_real, pool_of, samples_of
from collapse_ray.data.regime import PoolPlan


class Spec(SizedRegime):
    """Real rows in generation 1, then `num_samples` samples of generation t-1 (Shumailov et al. 2024)."""

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        size = self.size(num_real)
        if generation == 1:
            return pool_of(fixed_real(seed, num_real, size))
        return pool_of(samples_of(generation - 1, size))
