"""The ratio of variances against closed forms and values counted by hand."""

import numpy as np
import pytest
from metric_values import PLANE, measure

from collapse_ray.config.payload import Payload


class TestVarianceRatio:
    def test_scaling_by_s_gives_s_squared(self) -> None:
        rows = np.random.default_rng(0).normal(3, 2, (50, 2))
        assert measure("variance_ratio", PLANE, rows, 7 + 0.1 * rows)["variance_ratio"] == pytest.approx(0.01)

    def test_by_hand(self) -> None:
        real = np.array([[0.0, 0.0], [2.0, 4.0]])  # variances 2 and 8
        synthetic = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # variances 1 and 0
        assert measure("variance_ratio", PLANE, real, synthetic)["variance_ratio"] == pytest.approx(0.1)

    def test_images_count_alike_at_any_block_size(self) -> None:
        payload = Payload("image", (1, 2, 2))
        rng = np.random.default_rng(1)
        real, synthetic = (rng.integers(0, high, (40, 1, 2, 2), dtype=np.uint8) for high in (256, 128))
        expected = synthetic.reshape(40, 4).var(axis=0).sum() / real.reshape(40, 4).var(axis=0).sum()
        assert measure("variance_ratio", payload, real, synthetic)["variance_ratio"] == pytest.approx(expected)

    def test_replicas_are_averaged_not_pooled(self) -> None:
        """Replicas that drifted apart have no more variance than each has within itself."""
        payload = Payload("vector", (3, 1))
        rng = np.random.default_rng(2)
        real = rng.normal(size=(100, 3, 1))
        scale = np.array([1.0, 0.5, 0.0])[:, None]
        synthetic = real * scale + np.array([-50.0, 0.0, 50.0])[:, None]
        within = real[:, :, 0].var(axis=0)
        expected = (within * scale[:, 0] ** 2).sum() / within.sum()
        assert measure("variance_ratio", payload, real, synthetic)["variance_ratio"] == pytest.approx(expected)

    def test_a_variance_of_1e_20_beside_a_mean_of_1_is_still_seen(self) -> None:
        real = np.array([[-1.0, 0.0], [1.0, 0.0]])  # variance 2
        step = 2.0**-33
        synthetic = np.array([[1.0, 0.0], [1.0 + step, 0.0]])  # variance step**2 / 2
        assert measure("variance_ratio", PLANE, real, synthetic)["variance_ratio"] == pytest.approx(step**2 / 4)

    def test_absent_without_spread_in_the_real_rows_or_after_an_overflow(self) -> None:
        flat, spread = np.ones((3, 2)), np.arange(6.0).reshape(3, 2)
        assert measure("variance_ratio", PLANE, flat, spread)["variance_ratio"] is None
        assert measure("variance_ratio", PLANE, spread, spread * 1e300)["variance_ratio"] is None
