"""Real rows and everything made so far: the pool grows linearly (also: augment)."""

from collapse_ray.data.parts import SizedRegime, fixed_real, pool_of, samples_of
from collapse_ray.data.regime import Part, PoolPlan


class Spec(SizedRegime):
    """`num_samples` fixed real rows and as many samples of each generation 1..t-1 (Gerstgrasser et al. 2024)."""

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        size = self.size(num_real)
        real = fixed_real(seed, num_real, size)
        every_sample = samples_of(1, size).rows
        return pool_of(real, *(Part(earlier, every_sample) for earlier in range(1, generation)))
