"""The profile of an arm: what each definition of collapse says of it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from collapse_ray.config.payload import PayloadKind
from collapse_ray.config.spec import Spec
from collapse_ray.search.decide import judge
from collapse_ray.search.series import Series
from collapse_ray.search.verdict import Verdict, VerdictSpec

DEFAULT_VERDICTS = (
    "catastrophic_risk",
    "any_risk_increase",
    "diverging_risk",
    "collapsing_variance",
    "changed_scaling_law",
    "lost_modes",
    "lost_tail",
    "hallucinated_data",
)
"""Definitions 1 to 8, written out: a file added to the folder must not change the verdicts of older specs."""


def _default_verdicts() -> tuple[VerdictSpec, ...]:
    return tuple(VerdictSpec.resolve(kind) for kind in DEFAULT_VERDICTS)


class ProfileSpec(Spec):
    """Definitions of collapse, and how often they may be wrong about a healthy lineage."""

    verdicts: tuple[VerdictSpec, ...] = Field(default_factory=_default_verdicts, min_length=1)
    """Each a name or `{kind: NAME, image: ..., tokens: ..., vector: ...}`."""
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    """Largest probability that an arm within the tolerance is ever called collapsing or collapsed, at any depth."""
    controls: Literal["verdict", "profile"] = "verdict"
    """What the rate holds for: each verdict by itself, or all verdicts of a profile together (Bonferroni: each gets
    an equal share). With `verdict`, k verdicts call some of their alarms on at most k times as many healthy arms."""

    @model_validator(mode="after")
    def _each_definition_once(self) -> Self:
        kinds = [verdict.kind for verdict in self.verdicts]
        repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"verdicts: {', '.join(repeated)} is given more than once; keep one of each")
        return self

    def rate(self, payload: PayloadKind) -> float:
        """The false alarm rate of one verdict; those without a signal for the payload take no share."""
        if self.controls == "verdict":
            return self.false_alarm_rate
        return self.false_alarm_rate / max(1, len(self.measurable(payload)))

    def measurable(self, payload: PayloadKind) -> list[str]:
        """The verdicts that have a signal for a kind of payload."""
        return [verdict.kind for verdict in self.verdicts if verdict.signal(payload) is not None]


def profile(spec: ProfileSpec, series: Series) -> dict[str, Verdict]:
    """The verdicts on what is known of an arm, by kind, in the spec's order.

    A pure function: after generation t it gives what it gives for `series.until(t)` at any later time. A collapsing or
    collapsed verdict is never taken back; collapsing may become collapsed, healthy and undecided may become anything.
    """
    rate = spec.rate(series.payload)
    return {verdict.kind: judge(verdict, series, rate) for verdict in spec.verdicts}
