"""A subsample of any partition, merged in any order, keeps the same rows, spread evenly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.subsample import Subsample


class TestSubsample:
    @given(st.permutations(range(12)), st.lists(st.integers(0, 12), max_size=3))
    @settings(max_examples=60, deadline=None)
    def test_any_partition_in_any_order_keeps_the_same_rows(self, order: list[int], cuts: list[int]) -> None:
        ids = np.array(order)
        whole = Subsample(Payload("vector", (1,)), max_rows=5)
        for part_ids in np.split(ids, sorted(cuts)):
            part = Subsample(Payload("vector", (1,)), max_rows=5)
            part.update(part_ids, part_ids[:, None].astype(np.float64))
            whole.merge(part)
        reference = Subsample(Payload("vector", (1,)), max_rows=5)
        reference.update(np.arange(12), np.arange(12.0)[:, None])
        np.testing.assert_array_equal(whole.rows, reference.rows)

    def test_kept_ids_are_spread_evenly(self) -> None:
        """Of consecutive ids every tenth part is kept alike: chi-squared, 9 degrees of freedom, 99.9 % below 27.9."""
        sample = Subsample(Payload("vector", (1,)), max_rows=2000)
        sample.update(np.arange(20_000), np.arange(20_000.0)[:, None])
        counts = np.histogram(sample.rows, bins=10, range=(0, 20_000))[0]
        assert ((counts - 200) ** 2 / 200).sum() < 27.9
