"""When verdicts end a lineage."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.payload import PayloadKind
from collapse_ray.config.spec import Spec
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.verdict import Verdict


class StopRule(Spec):
    """Ends a lineage that has collapsed by the definitions named.

    A healthy lineage is ended with a probability of at most the profile's false alarm rate for `when: all` or one
    verdict. For `when: any` of k verdicts it is at most k times that, unless the profile `controls: profile`.
    """

    verdicts: tuple[str, ...] = Field(default=("catastrophic_risk",), min_length=1)
    """Kinds of verdicts, each one of the profile's."""
    when: Literal["any", "all"] = "any"
    """Whether one of them is enough."""
    at: Literal["collapsing", "collapsed"] = "collapsed"
    """The status that counts; collapsed counts as collapsing, too."""
    patience: int = Field(default=1, ge=1)
    """Generations for which the rule must have held, the deciding one included: 1 stops at once."""

    @model_validator(mode="after")
    def _each_verdict_once(self) -> Self:
        if len(set(self.verdicts)) < len(self.verdicts):
            raise ValueError(f"verdicts={list(self.verdicts)} names one twice; keep one of each")
        return self

    def check(self, profile: ProfileSpec, payload: PayloadKind) -> None:
        """Refuses a rule that could never stop a lineage.

        Raises:
            InvalidInput: a verdict is not in the profile, or has no signal for the payload and the rule needs it.
        """
        kinds = [verdict.kind for verdict in profile.verdicts]
        for kind in self.verdicts:
            if kind not in kinds:
                raise InvalidInput(f"stop.verdicts: {kind!r} is no verdict of the profile; {did_you_mean(kind, kinds)}")
        measurable = profile.measurable(payload)
        without = [kind for kind in self.verdicts if kind not in measurable]
        if without and (self.when == "all" or len(without) == len(self.verdicts)):
            raise InvalidInput(
                f"stop.verdicts: {', '.join(without)} has no metric for {payload}, so that when={self.when!r} never "
                f"stops; {did_you_mean(without[0], measurable)}, or name its metric: profile.verdicts[…].{payload}=…"
            )

    def stops(self, verdicts: Mapping[str, Verdict], generation: int) -> tuple[Verdict, ...]:
        """The verdicts for which a lineage ends after `generation`; empty where it goes on.

        Args:
            verdicts: the profile of what is known, by kind.
            generation: the latest one that was evaluated, or the one that diverged.
        """
        named = [verdicts[kind] for kind in self.verdicts]
        since = {verdict.kind: self._since(verdict) for verdict in named}
        holding = [
            kind for kind, first in since.items() if first is not None and generation - first + 1 >= self.patience
        ]
        if not holding or (self.when == "all" and len(holding) < len(named)):
            return ()
        return tuple(verdict for verdict in named if verdict.kind in holding)

    def _since(self, verdict: Verdict) -> int | None:
        """The generation from which on the status counts."""
        if self.at == "collapsing":
            return verdict.alarm_generation
        return verdict.generation if verdict.status == "collapsed" else None
