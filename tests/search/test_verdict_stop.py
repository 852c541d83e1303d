"""When a lineage ends, by hand-written verdicts."""

import pytest
from pydantic import ValidationError

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.stop import StopRule
from collapse_ray.search.verdict import Status, Verdict, VerdictSpec


def decided(kind: str, status: Status, generation: int | None = None, alarm: int | None = None) -> Verdict:
    return Verdict(kind, 0, status, "", generation, alarm or generation)


RISK = decided("catastrophic_risk", "collapsed", 5, alarm=3)
TAIL = decided("lost_tail", "collapsing", 4)
MODES = Verdict("lost_modes", 6, "healthy", "", generation=2)
VERDICTS = {verdict.kind: verdict for verdict in (RISK, TAIL, MODES)}
NO_SIGNAL = ProfileSpec(
    verdicts=(
        *ProfileSpec().verdicts[:-1],
        VerdictSpec.resolve({"kind": "hallucinated_data", "tokens": None}),
    )
)
"""Definition 8 names no metric of tokens."""


@pytest.mark.parametrize(
    ("rule", "generation", "stopped"),
    [
        (StopRule(), 5, ["catastrophic_risk"]),
        (StopRule(patience=3), 6, []),
        (StopRule(patience=3), 7, ["catastrophic_risk"]),
        (StopRule(at="collapsing", patience=3), 5, ["catastrophic_risk"]),
        (StopRule(verdicts=("lost_tail",)), 9, []),
        (StopRule(verdicts=("lost_tail",), at="collapsing"), 4, ["lost_tail"]),
        (StopRule(verdicts=("lost_modes",), at="collapsing"), 9, []),
        (StopRule(verdicts=("lost_tail", "catastrophic_risk")), 5, ["catastrophic_risk"]),
        (StopRule(verdicts=("lost_tail", "catastrophic_risk"), when="all"), 5, []),
        (
            StopRule(verdicts=("lost_tail", "catastrophic_risk"), when="all", at="collapsing"),
            5,
            ["lost_tail", "catastrophic_risk"],
        ),
        (StopRule(verdicts=("lost_tail", "catastrophic_risk"), when="all", at="collapsing", patience=2), 4, []),
        (StopRule(verdicts=("lost_tail", "lost_modes"), when="all", at="collapsing"), 9, []),
    ],
)
def test_stops(rule: StopRule, generation: int, stopped: list[str]) -> None:
    assert [verdict.kind for verdict in rule.stops(VERDICTS, generation)] == stopped


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (StopRule(verdicts=("lost_tails",)), "did you mean 'lost_tail'"),
        (StopRule(verdicts=("hallucinated_data",)), "has no metric for tokens"),
        (StopRule(verdicts=("lost_tail", "hallucinated_data"), when="all"), "never stops"),
    ],
)
def test_rules_that_never_stop_are_refused(rule: StopRule, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        rule.check(NO_SIGNAL, "tokens")


def test_rules_that_may_stop_are_not() -> None:
    StopRule(verdicts=("lost_tail", "hallucinated_data")).check(NO_SIGNAL, "tokens")
    StopRule(verdicts=("hallucinated_data",)).check(NO_SIGNAL, "image")


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="names one twice"):
        StopRule(verdicts=("lost_tail", "lost_tail"))
    with pytest.raises(ValidationError, match="at least 1"):
        StopRule(verdicts=())
