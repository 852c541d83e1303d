"""Clock offsets against clocks whose offset is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_ray.energy.clock import Exchange, estimate_offset
from collapse_ray.energy.marks import AccountKey, Mark


def test_one_exchange_is_cristian():
    offset = estimate_offset([Exchange(10.0, 110.5, 11.0)], at_s=10.5)
    assert (offset.offset_s, offset.uncertainty_s) == (100.0, 0.5)


def test_exchanges_with_opposite_asymmetry_narrow_each_other():
    # True offset 100: the first answer took all of the time, then the second question.
    exchanges = [Exchange(0.0, 100.0, 1.0), Exchange(2.0, 103.0, 3.0)]
    offset = estimate_offset(exchanges, at_s=1.5, max_drift=0.0)
    assert (offset.offset_s, offset.uncertainty_s) == (100.0, 0.0)


@given(
    st.floats(-1e5, 1e5),
    st.floats(-9e-5, 9e-5),
    st.lists(st.tuples(st.floats(0, 600), st.floats(1e-5, 0.2), st.floats(1e-5, 0.2)), min_size=1, max_size=20),
    st.floats(0, 600),
)
def test_the_truth_is_within_the_uncertainty(offset_s, drift, trips, at_s):
    exchanges = []
    for sent_s, there_s, back_s in trips:
        read_s = sent_s + there_s
        exchanges.append(Exchange(sent_s, read_s * (1 + drift) + offset_s, read_s + back_s))
    estimate = estimate_offset(exchanges, at_s)
    # Half a round trip of drift beside the bound: the remote clock was read at one time within the trip.
    assert abs(estimate.offset_s - (offset_s + drift * at_s)) <= estimate.uncertainty_s + 0.2 * 1e-4 + 1e-9


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="the remote clock was set or its node restarted"):
        estimate_offset([Exchange(0, 100, 0.1), Exchange(1, 5, 1.1)], at_s=1)
    with pytest.raises(ValueError, match="no exchange"):
        estimate_offset([], at_s=0)
    with pytest.raises(ValueError, match="before its request"):
        estimate_offset([Exchange(1, 5, 0.5)], at_s=0)


def test_marks_move_to_another_clock():
    mark = Mark(AccountKey("stage", "n", "d", stage="train"), 1.0, 2.0).shifted(100.0)
    assert (mark.begin_s, mark.end_s) == (101.0, 102.0)
