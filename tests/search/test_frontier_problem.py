"""What may be asked of a frontier search, and how values lie on its axes."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from collapse_ray.search.frontier.problem import FrontierSpec, NumericAxis

FRACTION = {"path": "regime.real_fraction", "low": 0.0, "high": 1.0}
ASKED = {"fraction": FRACTION, "depth": 10, "threshold": 0.5, "precision": 0.05}


def spec(**fields: Any) -> FrontierSpec:
    return FrontierSpec.model_validate(ASKED | fields, strict=False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"fraction": FRACTION | {"low": 1.0}}, "give low < high"),
        ({"fraction": FRACTION | {"scale": "log"}}, "give low > 0, or scale=linear"),
        ({"fraction": FRACTION | {"step": 2.0}}, "give a smaller step"),
        ({"fraction": FRACTION | {"step": 0.1}}, "finer than fraction.step"),
        ({"precision": 1.0}, "ask for less"),
        ({"others": [FRACTION]}, "given more than once"),
        ({"others": [{"path": "a", "low": 0.0, "high": 1.0, "report_at": [2.0]}]}, "outside"),
        ({"categories": {"regime.kind": []}}, "has no choice"),
        ({"response_scale": "log", "threshold": 0.0}, "no logarithm"),
    ],
)
def test_what_cannot_be_answered_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec(**fields)


def test_places_and_values() -> None:
    log = NumericAxis(path="n", low=10.0, high=1000.0, scale="log")
    assert log.value(0.5) == pytest.approx(100)
    assert log.unit(100.0) == pytest.approx(0.5)
    stepped = NumericAxis(path="f", low=0.0, high=1.0, step=0.1)
    assert [stepped.value(place) for place in (0.0, 0.04, 0.06, 0.31, 1.0)] == [0.0, 0.0, 0.1, 0.3, 1.0]
    assert [stepped.at_or_above(place) for place in (0.0, 0.04, 0.3, 0.31)] == [0.0, 0.1, 0.3, 0.4]


def test_arms_and_asked_places_are_all_combinations() -> None:
    asked = spec(
        others=[{"path": "size", "low": 1.0, "high": 3.0, "report_at": [1.0, 2.0, 3.0]}],
        categories={"regime.kind": ["mix", "single_shot"], "seeded": [True, False]},
    )
    assert len(asked.arms) == 4
    assert asked.arms[1] == (("regime.kind", "mix"), ("seeded", False))
    assert asked.asked == ((1.0,), (2.0,), (3.0,))
    assert spec().arms == ((),)
    assert spec().asked == ((),)
    np.testing.assert_allclose(asked.unit((0.25, 2.0)), [0.25, 0.5])


def test_margins_are_positive_on_the_healthy_side() -> None:
    assert spec().margin(0.7) == pytest.approx(0.2)
    assert spec(healthy="below").margin(0.7) == pytest.approx(-0.2)
    log = spec(response_scale="log")
    assert log.margin(1.0) == pytest.approx(math.log(2))
    assert log.margin(0.0) == -math.inf
    assert not math.isfinite(log.margin(-1.0))
