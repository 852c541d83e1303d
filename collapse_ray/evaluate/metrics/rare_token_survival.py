"""Whether the tail of real text survives: the first thing a lineage of language models loses."""

import math
from fractions import Fraction
from functools import cache
from typing import ClassVar

import numpy as np
from pydantic import Field

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import ALL_GROUPS, Share, share_stderr_of_halves, stderr_of_halves
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.occurrences import at
from collapse_ray.evaluate.token_types import TypeCounts, Unit, check_unit


class Spec(MetricSpec):
    """Survival of the rare types of the held-out real rows in the synthetic samples.

    Rare are the least frequent types that together make at most `tail_mass` of the held-out tokens; of equally frequent
    ones, those with the smaller id (of words: hash) come first. The set depends on the held-out rows alone, so it is
    the same for every lineage and generation on the same data.

    `rare_token_survival` is the share of these types that occur at least once. Even the real distribution would not
    reach 1: the value grows with the number of tokens sampled, and is to be compared only at the same number.
    `rare_token_share` is the share of synthetic tokens that are rare over the same share of real tokens. Its
    expectation does not depend on the number of tokens sampled; repeating the held-out frequencies gives 1.

    `*_stderr` are the standard errors over the draw of the samples and of the held-out rows, and with them of the rare
    types (`evaluate/halves.py`).
    """

    names: ClassVar[tuple[str, ...]] = (
        *("rare_token_survival", "rare_token_survival_stderr"),
        *("rare_token_share", "rare_token_share_stderr"),
    )

    tail_mass: float = Field(default=0.05, gt=0, lt=1)
    """Largest share of the held-out tokens that the rare types make together."""
    unit: Unit = "token"
    """Types are tokens, or `word`: what stands between white space, for byte tokens only."""

    def empty(self, payload: Payload) -> Summary | None:
        if payload.kind != "tokens":
            return None
        check_unit(self.unit, payload, f"metrics.{self.kind}")
        return RareTypes(self.unit, self.tail_mass)


class RareTypes(TypeCounts):
    """Counts of types, of which the rare ones are looked at."""

    def __init__(self, unit: Unit, tail_mass: float) -> None:
        super().__init__(unit)
        self.tail_mass = tail_mass

    def compute(self) -> dict[str, float | None]:
        real, synthetic = self.real.table(), self.synthetic.table()
        index = synthetic.index_of(real.types)
        groups_of_synthetic = at(synthetic.groups, index)

        @cache
        def rare_in(groups: np.uint64) -> np.ndarray:
            return rare_types(real.counts_in(groups), self.tail_mass)

        def survival(groups: np.uint64) -> Share:
            rare = rare_in(groups)
            num = int(np.count_nonzero(rare))
            if not num or not self.synthetic.total(groups):
                return Share(None, num)
            return Share(int(np.count_nonzero(groups_of_synthetic[rare] & groups)) / num, num)

        def share(groups: np.uint64) -> float | None:
            rare, total = rare_in(groups), self.synthetic.total(groups)
            if not rare.any() or not total:
                return None
            of_synthetic = at(synthetic.counts_in(groups), index)[rare].sum() / total
            of_real = real.counts_in(groups)[rare].sum() / self.real.total(groups)
            return float(of_synthetic / of_real)

        halves = self.halves()
        return {
            "rare_token_survival": survival(ALL_GROUPS).value,
            "rare_token_survival_stderr": share_stderr_of_halves(survival, halves),
            "rare_token_share": share(ALL_GROUPS),
            "rare_token_share_stderr": stderr_of_halves(share, halves),
        }


def rare_types(counts: np.ndarray, tail_mass: float) -> np.ndarray:
    """Which types (V,), of counts (V,) in the order of their ids, are the least frequent that make `tail_mass`."""
    # As a decimal: 0.29 of 100 tokens are 29, which the double product 28.999999999999996 would miss.
    allowed = math.floor(Fraction(str(tail_mass)) * int(counts.sum()))
    counts = np.minimum(counts, allowed + 1)
    # Tokens of all types that occur at most 0, 1, 2 ... times.
    mass = np.cumsum(np.bincount(counts, minlength=1) * np.arange(counts.max(initial=0) + 1))
    first_too_many = int(np.searchsorted(mass, allowed, side="right"))
    rare = (counts > 0) & (counts < first_too_many)
    if first_too_many < len(mass):
        equals = np.flatnonzero(counts == first_too_many)
        rare[equals[: (allowed - mass[first_too_many - 1]) // first_too_many]] = True
    return rare
