"""How many of the types of real text a generator still uses."""

from typing import ClassVar

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.token_types import TypeCounts, Unit, check_unit


class Spec(MetricSpec):
    """Share of the types of the held-out real rows that occur in the synthetic samples.

    It grows with the number of tokens sampled: compare lineages at the same number.
    """

    names: ClassVar[tuple[str, ...]] = ("vocabulary_coverage",)

    unit: Unit = "token"
    """Types are tokens, or `word`: what stands between white space, for byte tokens only."""

    def empty(self, payload: Payload) -> Summary | None:
        if payload.kind != "tokens":
            return None
        check_unit(self.unit, payload, f"metrics.{self.kind}")
        return VocabularyCoverage(self.unit)


class VocabularyCoverage(TypeCounts):
    """Counts of types, of which only the presence is used."""

    def compute(self) -> dict[str, float | None]:
        if not self.real or not self.synthetic:
            return {"vocabulary_coverage": None}
        return {"vocabulary_coverage": len(self.real.keys() & self.synthetic.keys()) / len(self.real)}
