"""A fixed share of real rows in every pool after the first (also: fixed real fraction)."""

from pydantic import Field

from collapse_ray.data.parts import SizedRegime, mixed_pool, num_mixed_real
from collapse_ray.data.regime import PoolPlan


class Spec(SizedRegime):
    """`num_samples` rows, `real_fraction` of them fixed real rows, the rest samples of generation t-1.

    The number of real rows is `num_samples * real_fraction`, halves rounded up. The real rows are the same in every
    generation. Generation 1 trains on `num_samples` real rows whatever the fraction.
    """

    real_fraction: float = Field(ge=0, le=1)
    """Share of real rows in the pool of every generation t >= 2: 0 is `replace`, 1 never sees a sample."""

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        return mixed_pool(seed, generation, num_real, self.size(num_real), self.real_fraction)

    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        size = self.size(num_real)
        return size - num_mixed_real(size, self.real_fraction)
