"""One mix of real rows and samples of generation 1, and no recursion (the setting of strong collapse)."""

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.parts import SizedRegime, mixed_pool, num_mixed_real
from collapse_ray.data.regime import PoolPlan

DEPTH = 2


class Spec(SizedRegime):
    """Generation 2 trains on `num_samples` rows, `real_fraction` of them real (Dohmatob et al. 2024); there is no 3.

    Rows and rounding are those of `mix`.
    """

    real_fraction: float = Field(ge=0, le=1)
    """Share of real rows in the pool of generation 2."""

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        if generation > DEPTH:
            raise ValueError(f"single_shot has no generation {generation}: it ends at generation {DEPTH}")
        return mixed_pool(seed, generation, num_real, self.size(num_real), self.real_fraction)

    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        size = self.size(num_real)
        return size - num_mixed_real(size, self.real_fraction) if generation < DEPTH else 0

    def check(self, *, num_real: int, depth: int) -> None:
        super().check(num_real=num_real, depth=depth)
        if depth > DEPTH:
            raise InvalidInput(
                f"regime single_shot has no recursion: the depth is {depth}, allowed is at most {DEPTH}. "
                "Set the depth to 2, or use the regime mix for deeper lineages"
            )
