"""Integer shares."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_ray.energy.apportion import apportion


def test_largest_remainder_by_hand():
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(100, [47, 16, 15.8, 12, 6.1, 3.1]) == [47, 16, 16, 12, 6, 3]
    assert apportion(3, [0, 0]) == [2, 1]


@given(st.integers(0, 10**20), st.lists(st.floats(0, 1e300), min_size=1, max_size=8))
def test_sums_exactly_and_stays_within_one_of_the_ideal(total, weights):
    parts = apportion(total, weights)
    assert sum(parts) == total
    whole = sum(map(Fraction, weights))
    if whole:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - total * Fraction(weight) / whole) < 1


def test_bad_input():
    with pytest.raises(ValueError, match="at least one"):
        apportion(1, [])
    with pytest.raises(ValueError, match="0 or more"):
        apportion(1, [-1.0])
