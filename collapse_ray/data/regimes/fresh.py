"""Newly drawn real rows in every generation, beside samples of the one before (the fresh-data loop)."""

from typing import Self

from pydantic import Field, model_validator

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.parts import fixed_real, pool_of, require_real_rows, samples_of
from collapse_ray.data.regime import PoolPlan, RegimeSpec


class Spec(RegimeSpec):
    """`num_real` real rows that no generation saw before and `num_synthetic` samples of generation t-1.

    Alemohammad et al. 2023 (fresh-data loop); He et al. 2025 for the weighted form.
    """

    num_real: int = Field(ge=1)
    """Real rows that each generation draws; a lineage of depth T uses T times as many."""

    num_synthetic: int = Field(ge=0)
    """Samples of the latest generation in every pool after the first."""

    real_weight: float | None = Field(default=None, gt=0, lt=1)
    """Share of the loss given to real rows in every generation t >= 2; None weighs every row alike."""

    @model_validator(mode="after")
    def _weigh_only_a_mix(self) -> Self:
        if self.real_weight is not None and self.num_synthetic == 0:
            raise ValueError(
                "real_weight needs synthetic rows to weigh against: set num_synthetic >= 1 or leave it out"
            )
        return self

    def plan(self, *, seed: int, generation: int, num_real: int) -> PoolPlan:
        real = fixed_real(seed, num_real, self.num_real, skip=(generation - 1) * self.num_real)
        if generation == 1:
            return pool_of(real)
        return pool_of(real, samples_of(generation - 1, self.num_synthetic), real_weight=self.real_weight)

    def num_to_generate(self, *, generation: int, num_real: int) -> int:
        return self.num_synthetic

    def check(self, *, num_real: int, depth: int) -> None:
        require_real_rows("regime.num_real", self.num_real, num_real)
        if depth * self.num_real > num_real:
            raise InvalidInput(
                f"regime fresh draws {self.num_real} new real rows in each of {depth} generations, "
                f"{depth * self.num_real} in all, but the source has {num_real}: that is enough for a depth of "
                f"{num_real // self.num_real}. Lower the depth, lower regime.num_real, or give a larger source"
            )
