"""A fixed-size subsample of everything so far (also: fixed compute)."""

import numpy as np

from collapse_ray.config.noise import generator
from collapse_ray.data.parts import SizedRegime, fixed_real, pool_of
from collapse_ray.data.regime import Part, PoolPlan


class Spec(SizedRegime):
    """`num_samples` rows, drawn uniformly without replacement from the pool of `accumulate` (Kazdan et al. 2024).

    Each generation draws anew, so the share of real rows is 1/t in expectation and not exactly.
    """

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        size = self.size(num_real)
        real = fixed_real(seed, num_real, size)
        draw = generator(seed, generation, "plan").choice(size * generation, size=size, replace=False, shuffle=False)
        earlier, row = np.divmod(np.sort(draw), size)
        bounds = np.searchsorted(earlier, np.arange(generation + 1))
        rows_of = [row[bounds[t] : bounds[t + 1]] for t in range(generation)]
        return pool_of(Part(0, real.rows[rows_of[0]]), *(Part(t, rows_of[t]) for t in range(1, generation)))
