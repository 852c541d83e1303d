"""Metrics of distances between rows against closed forms and papers' definitions written out."""

import math

import numpy as np
import pytest
from metric_values import PLANE, measure
from scipy import linalg

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.evaluate.metrics.frechet_distance import frechet_distance


class TestFrechetDistance:
    def test_one_dimension(self) -> None:
        """(m1 - m2)^2 + (s1 - s2)^2."""
        one = np.ones((1, 1))
        assert frechet_distance(np.array([1.0]), 4 * one, np.array([-2.0]), 25 * one) == pytest.approx(9 + 9)

    def test_commuting_covariances(self) -> None:
        """With common eigenvectors: the squared difference of the standard deviations, axis by axis."""
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        variances_1, variances_2 = np.array([4.0, 1.0, 0.0]), np.array([1.0, 9.0, 0.25])
        cov_1, cov_2 = (rotation @ np.diag(variances) @ rotation.T for variances in (variances_1, variances_2))
        assert frechet_distance(np.zeros(3), cov_1, np.ones(3), cov_2) == pytest.approx(3 + 1 + 4 + 0.25)

    @pytest.mark.parametrize("num_rows", [200, 6], ids=["full rank", "singular"])
    def test_agrees_with_the_matrix_square_root(self, num_rows: int) -> None:
        rng = np.random.default_rng(3)
        real = rng.normal(size=(num_rows, 8)) @ rng.normal(size=(8, 8))
        synthetic = rng.normal(1, 2, size=(num_rows, 8))
        value = measure("frechet_distance", Payload("vector", (8,)), real, synthetic)["frechet_distance"]
        cov_1, cov_2 = np.cov(real.T), np.cov(synthetic.T)
        root_1 = psd_root(cov_1)
        overlap = np.trace(psd_root(root_1 @ cov_2 @ root_1))
        gap = real.mean(axis=0) - synthetic.mean(axis=0)
        assert value == pytest.approx(gap @ gap + np.trace(cov_1) + np.trace(cov_2) - 2 * overlap, rel=1e-6)

    def test_agrees_with_sqrtm(self) -> None:
        rng = np.random.default_rng(4)
        real, synthetic = rng.normal(size=(60, 5)), rng.normal(0.5, 2, size=(60, 5))
        cov_1, cov_2 = np.cov(real.T), np.cov(synthetic.T)
        gap = real.mean(axis=0) - synthetic.mean(axis=0)
        expected = gap @ gap + np.trace(cov_1 + cov_2 - 2 * np.real(linalg.sqrtm(cov_1 @ cov_2)))
        value = measure("frechet_distance", Payload("vector", (5,)), real, synthetic)["frechet_distance"]
        assert value == pytest.approx(expected, rel=1e-9)

    def test_the_same_rows_are_at_distance_0_and_a_shift_adds_its_square(self) -> None:
        rows = np.random.default_rng(5).normal(size=(4, 2))
        assert measure("frechet_distance", PLANE, rows, rows)["frechet_distance"] == pytest.approx(0, abs=1e-12)
        assert measure("frechet_distance", PLANE, rows, rows + np.array([3, 4]))["frechet_distance"] == pytest.approx(
            25
        )

    def test_collapse_to_a_point_leaves_the_spread_of_the_real_rows(self) -> None:
        rows = np.random.default_rng(6).normal(size=(100, 2))
        point = np.tile(rows.mean(axis=0), (10, 1))
        value = measure("frechet_distance", PLANE, rows, point)["frechet_distance"]
        assert value == pytest.approx(np.trace(np.cov(rows.T)))

    def test_pixels_are_scaled_to_one(self) -> None:
        payload = Payload("image", (1, 1, 2))
        black, white = (np.full((2, 1, 1, 2), level, np.uint8) for level in (0, 255))
        assert measure("frechet_distance", payload, black, white)["frechet_distance"] == pytest.approx(2)

    def test_absent_with_one_row_or_samples_that_are_not_finite(self) -> None:
        rows = np.random.default_rng(7).normal(size=(3, 2))
        assert measure("frechet_distance", PLANE, rows, rows[:1])["frechet_distance"] is None
        assert measure("frechet_distance", PLANE, rows, rows * math.nan)["frechet_distance"] is None

    def test_absent_above_max_features(self) -> None:
        spec = MetricSpec.resolve({"kind": "frechet_distance", "max_features": 1})
        assert spec.empty(PLANE) is None
        assert spec.empty(Payload("vector", (1,))) is not None


@pytest.mark.parametrize("kind", ["frechet_distance", "precision_recall"])
@pytest.mark.parametrize(
    ("payload", "has_meaning"),
    [
        (Payload("image", (3, 4, 4)), True),
        (Payload("vector", (2,)), True),
        (Payload("vector", (1, 2)), True),
        (Payload("vector", (5, 2)), False),
        (Payload("tokens", (4,), vocab_size=10), False),
    ],
    ids=["image", "vector", "one replica", "replicas", "tokens"],
)
def test_distances_are_between_single_points(kind: str, payload: Payload, has_meaning: bool) -> None:
    assert (MetricSpec.resolve(kind).empty(payload) is not None) == has_meaning


def psd_root(matrix: np.ndarray) -> np.ndarray:
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(eigenvalues.clip(0))) @ vectors.T


def definitions(real: np.ndarray, synthetic: np.ndarray, k: int) -> dict[str, float]:
    """Kynkaanniemi et al. 2019 (f, eq. 1) and Naeem et al. 2020 (density, coverage), and the tail, sum by sum."""

    def gap(a: np.ndarray, b: np.ndarray) -> float:
        return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))

    def radius(rows: np.ndarray, i: int) -> float:
        return sorted(gap(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    def in_manifold(point: np.ndarray, rows: np.ndarray, radii: list[float]) -> bool:
        return any(gap(point, row) <= r for row, r in zip(rows, radii, strict=True))

    real_radii = [radius(real, i) for i in range(len(real))]
    synthetic_radii = [radius(synthetic, j) for j in range(len(synthetic))]
    in_ball = [[gap(x, y) <= r for y in synthetic] for x, r in zip(real, real_radii, strict=True)]
    tail = sorted(range(len(real)), key=lambda i: -real_radii[i])[: round(len(real) / 10)]
    return {
        "precision": sum(in_manifold(y, real, real_radii) for y in synthetic) / len(synthetic),
        "recall": sum(in_manifold(x, synthetic, synthetic_radii) for x in real) / len(real),
        "density": sum(map(sum, in_ball)) / (k * len(synthetic)),
        "coverage": sum(map(any, in_ball)) / len(real),
        "tail_coverage": sum(any(in_ball[i]) for i in tail) / len(tail),
    }


class TestPrecisionRecall:
    @pytest.mark.parametrize("k", [1, 5])
    def test_vectors_agree_with_the_definitions(self, k: int) -> None:
        rng = np.random.default_rng(k)
        real, synthetic = rng.normal(size=(40, 3)), rng.normal(0.8, 0.7, (30, 3))
        values = measure({"kind": "precision_recall", "num_neighbours": k}, Payload("vector", (3,)), real, synthetic)
        assert values == pytest.approx(definitions(real, synthetic, k))

    def test_images_with_repeated_rows_agree_with_the_definitions(self) -> None:
        """Few grey levels, so that many distances tie and some radii are 0."""
        rng = np.random.default_rng(0)
        real, synthetic = (rng.integers(0, 3, (n, 1, 2, 2), dtype=np.uint8) * np.uint8(127) for n in (50, 40))
        real[:8] = real[0]
        values = measure("precision_recall", Payload("image", (1, 2, 2)), real, synthetic)
        assert values == pytest.approx(definitions(real.reshape(50, 4), synthetic.reshape(40, 4), 5))

    def test_agrees_with_the_authors_code(self) -> None:
        prdc = pytest.importorskip("prdc", reason="`pip install prdc` for the code of Naeem et al.")
        rng = np.random.default_rng(8)
        real, synthetic = rng.normal(size=(150, 4)), rng.normal(0.5, 0.8, (120, 4))
        expected = prdc.compute_prdc(real, synthetic, nearest_k=5)
        values = measure("precision_recall", Payload("vector", (4,)), real, synthetic)
        assert values == pytest.approx({**values, **{name: float(value) for name, value in expected.items()}})

    def test_identical_sets(self) -> None:
        rows = np.random.default_rng(9).normal(size=(30, 2))
        values = measure("precision_recall", PLANE, rows, rows)
        assert (values["precision"], values["recall"], values["coverage"]) == (1, 1, 1)

    def test_recall_sees_the_lost_mode_that_variance_does_not(self) -> None:
        """Half the real rows fill a square, half sit at a point; without the point the total variance is the same.

        Half the trace 2/3 of the square, and d^2 / 4 between the modes, are 2/3 at d = sqrt(4/3), outside the square.
        """
        rng = np.random.default_rng(10)
        square = rng.uniform(-1, 1, (1000, 2))
        point = np.array([math.sqrt(4 / 3), 0]) + rng.normal(0, 0.01, (1000, 2))
        lost = rng.uniform(-1, 1, (1000, 2))
        real = np.concatenate([square, point])
        assert measure("variance_ratio", PLANE, real, lost)["variance_ratio"] == pytest.approx(1, abs=0.1)
        values = measure("precision_recall", PLANE, real, lost)
        assert values["precision"] is not None and values["precision"] > 0.95
        assert values["recall"] == pytest.approx(0.5, abs=0.03)
        assert values["coverage"] == pytest.approx(0.5, abs=0.03)

    @pytest.mark.slow
    def test_tail_coverage_sees_the_lost_tail_that_coverage_hardly_does(self) -> None:
        """Samples of a Gaussian that lost what lies beyond two standard deviations, e^-2 = 13.5 % of a plane."""
        rng = np.random.default_rng(13)
        real, samples = rng.normal(size=(1000, 2)), rng.normal(size=(2000, 2))
        values = measure("precision_recall", PLANE, real, samples[np.linalg.norm(samples, axis=1) < 2])
        assert values["coverage"] is not None and values["coverage"] > 0.9
        assert values["tail_coverage"] is not None and values["tail_coverage"] < 0.5
        healthy = measure("precision_recall", PLANE, real, samples)
        assert healthy["tail_coverage"] == pytest.approx(1, abs=0.03)

    def test_absent_below_k_plus_1_rows(self) -> None:
        rows = np.random.default_rng(11).normal(size=(6, 2))
        few_synthetic = measure("precision_recall", PLANE, rows, rows[:5])
        assert few_synthetic["recall"] is None and few_synthetic["precision"] == 1
        few_real = measure("precision_recall", PLANE, rows[:5], rows)
        assert few_real == {**dict.fromkeys(few_real), "recall": 1}

    def test_samples_that_are_not_numbers_lie_in_no_ball(self) -> None:
        rows = np.random.default_rng(12).normal(size=(20, 2))
        values = measure("precision_recall", PLANE, rows, rows * math.nan)
        assert values == dict.fromkeys(values, 0)
