"""What every verdict must offer, run over each file of the verdicts folder."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from collapse_ray.config.payload import DTYPES
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.search.profile import DEFAULT_VERDICTS, ProfileSpec
from collapse_ray.search.verdict import Signal, VerdictSpec

SIGNALS = [
    pytest.param(kind, signal, id=f"{kind}-{payload}")
    for kind in VerdictSpec.kinds()
    for payload in DTYPES
    if (signal := VerdictSpec.resolve(kind).signal(payload)) is not None
]
MEASURED = {name for kind in MetricSpec.kinds() for name in MetricSpec.of_kind(kind).names} | {"scaling_exponent"}


def test_the_default_profile_is_the_eight_definitions_in_order() -> None:
    assert sorted(DEFAULT_VERDICTS) == sorted(VerdictSpec.kinds())
    assert [verdict.definition for verdict in ProfileSpec().verdicts] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", VerdictSpec.kinds())
def test_comes_back_from_what_it_dumps(kind: str) -> None:
    spec = VerdictSpec.resolve(kind)
    assert VerdictSpec.resolve(spec.dump()) == spec
    assert spec.identity()["kind"] == kind


@pytest.mark.parametrize(("kind", "signal"), SIGNALS)
def test_reads_a_metric_that_exists(kind: str, signal: Signal) -> None:
    assert signal.metric in MEASURED


@pytest.mark.parametrize(("kind", "signal"), SIGNALS)
def test_compares_generations_up_to_each_look_only(kind: str, signal: Signal) -> None:
    """Weights sum to 0, so that what all generations share counts for nothing; a look reads nothing later."""
    for generations in (np.arange(1, 13), np.array([1, 2, 5, 6, 11])):
        for criterion in VerdictSpec.resolve(kind).criteria(signal, generations):
            assert criterion.weights.sum(axis=1) == pytest.approx(0)
            assert np.triu(criterion.weights, k=1) == pytest.approx(0)
            assert 0 <= criterion.tolerance <= criterion.threshold


@pytest.mark.parametrize(("kind", "signal"), SIGNALS)
def test_worse_is_worse(kind: str, signal: Signal) -> None:
    worse, better = (2.0, 1.0) if signal.worse == "higher" else (1.0, 2.0)
    badness = signal.badness(np.array([worse, better]))
    assert badness[0] > badness[1]
    worsening = math.log(2) if signal.scale == "ratio" else 1.0
    assert badness[0] - badness[1] == pytest.approx(worsening)
    change = worse / better if signal.scale == "ratio" else worse - better
    assert signal.change(worsening) == pytest.approx(change)


GIVEN = {"metric": "recall", "worse": "lower", "scale": "ratio", "tolerance": 0.9, "threshold": 0.5}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": 0.95}, "out of order"),
        ({"threshold": 0.0}, "ratios above 0"),
        ({"tolerance": 1.1}, "at most 1"),
        ({"worse": "higher"}, "at least 1"),
        ({"scale": "difference"}, "0 <= tolerance <= threshold"),
        ({"scale": "difference", "tolerance": -0.1}, "0 <= tolerance <= threshold"),
        ({"floor": 0.0}, "greater than 0"),
        ({"replicate_stddev": 0.0}, "greater than 0"),
        ({"treshold": 0.1}, "not permitted"),
    ],
)
def test_signals_that_make_no_sense_are_refused(changed: dict[str, str | float], message: str) -> None:
    Signal.model_validate(GIVEN)
    with pytest.raises(ValidationError, match=message):
        Signal.model_validate({**GIVEN, **changed})


def test_profiles_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="lost_tail is given more than once"):
        ProfileSpec.model_validate_json('{"verdicts": ["lost_tail", "lost_modes", "lost_tail"]}')
    with pytest.raises(ValidationError, match="did you mean 'lost_tail'"):
        ProfileSpec.model_validate_json('{"verdicts": ["lost_tails"]}')
    with pytest.raises(ValidationError, match="at least 1"):
        ProfileSpec.model_validate_json('{"verdicts": []}')
