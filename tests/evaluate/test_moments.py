"""Moments of any partition, merged in any order, are numpy's of the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_ray.evaluate.moments import Moments


class TestMoments:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.randoms(use_true_random=False))
    @settings(max_examples=40, deadline=None)
    def test_any_partition_in_any_order_gives_numpys_moments(self, sizes: list[int], random) -> None:
        blocks = [np.random.default_rng(size).normal(1e6, 1, (size, 3)) for size in sizes]
        parts = []
        for block in blocks:
            part = Moments(3, full=True)
            part.update(block)
            parts.append(part)
        random.shuffle(parts)
        whole = parts[0]
        for part in parts[1:]:
            whole.merge(part)
        rows = np.concatenate(blocks)
        assert whole.count == len(rows)
        if len(rows) > 1:
            np.testing.assert_allclose(whole.mean, rows.mean(axis=0))
            np.testing.assert_allclose(whole.covariance, np.cov(rows.T), rtol=1e-6, atol=1e-7)
