"""Whether the tail of real text survives: the first thing a lineage of language models loses."""

import math
from collections import Counter
from fractions import Fraction
from typing import Any, ClassVar

from pydantic import Field

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.token_types import TypeCounts, Unit, check_unit


class Spec(MetricSpec):
    """Survival of the rare types of the held-out real rows in the synthetic samples.

    Rare are the least frequent types that together make at most `tail_mass` of the held-out tokens; of equally frequent
    ones, those with the smaller id come first. The set depends on the held-out rows alone, so it is the same for every
    lineage and generation on the same data.

    `rare_token_survival` is the share of these types that occur at least once. Even the real distribution would not
    reach 1: the value grows with the number of tokens sampled, and is to be compared only at the same number.
    `rare_token_share` is the share of synthetic tokens that are rare over the same share of real tokens. Its
    expectation does not depend on the number of tokens sampled; repeating the held-out frequencies gives 1.
    """

    names: ClassVar[tuple[str, ...]] = ("rare_token_survival", "rare_token_share")

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
        rare = rare_types(self.real, self.tail_mass)
        if not rare or not self.synthetic:
            return dict.fromkeys(Spec.names)
        return {
            "rare_token_survival": len(rare & self.synthetic.keys()) / len(rare),
            "rare_token_share": _share(self.synthetic, rare) / _share(self.real, rare),
        }


def rare_types(counts: Counter[Any], tail_mass: float) -> set[Any]:
    """The least frequent types that together make at most `tail_mass` of all occurrences."""
    # As a decimal: 0.29 of 100 tokens are 29, which the double product 28.999999999999996 would miss.
    allowed = math.floor(Fraction(str(tail_mass)) * counts.total())
    rare = set()
    for kind in sorted(counts, key=lambda kind: (counts[kind], kind)):
        allowed -= counts[kind]
        if allowed < 0:
            break
        rare.add(kind)
    return rare


def _share(counts: Counter[Any], kinds: set[Any]) -> float:
    return sum(counts[kind] for kind in kinds) / counts.total()
