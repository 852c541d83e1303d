"""Each metric against closed forms, papers' definitions written out, or values counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.evaluate.metrics.frechet_distance import frechet_distance
from collapse_ray.evaluate.metrics.rare_token_survival import rare_types
from collapse_ray.evaluate.moments import Moments
from collapse_ray.evaluate.subsample import Subsample
from collapse_ray.evaluate.token_types import words_of

PLANE = Payload("vector", (2,))
WORDS = Payload("tokens", (4,), vocab_size=10)
BYTES = Payload("tokens", (11,), vocab_size=256)


def measure(*args, **kwargs) -> dict[str, float | None]:
    """Without standard errors: test_sampling_error.py."""
    return {name: value for name, value in measure_all(*args, **kwargs).items() if not name.endswith("_stderr")}


def measure_all(
    metric: dict | str, payload: Payload, real: np.ndarray, synthetic: np.ndarray, loss: np.ndarray | None = None
) -> dict[str, float | None]:
    """The values of one metric after a single pass over rows numbered from 0."""
    summary = MetricSpec.resolve(metric).empty(payload)
    assert summary is not None
    summary.update_real(np.arange(len(real)), real, np.zeros(len(real)) if loss is None else loss)
    summary.update_synthetic(np.arange(len(synthetic)), synthetic)
    return summary.compute()


def bytes_rows(*rows: str) -> np.ndarray:
    return np.array([list(row.encode()) for row in rows], np.int32)


class TestRealTestLoss:
    def test_mean_standard_error_and_perplexity(self) -> None:
        tokens = np.zeros((4, 4), np.int32)
        values = measure_all("real_test_loss", WORDS, tokens, tokens, loss=np.array([1.0, 2.0, 3.0, 6.0]))
        # mean 3, unbiased variance (4 + 1 + 0 + 9) / 3
        assert values["real_test_loss"] == pytest.approx(3.0)
        assert values["real_test_loss_stderr"] == pytest.approx(math.sqrt(14 / 3 / 4))
        assert values["perplexity"] == pytest.approx(math.e**3)

    def test_uniform_guessing_has_the_perplexity_of_the_vocabulary(self) -> None:
        tokens = np.zeros((3, 4), np.int32)
        values = measure_all("real_test_loss", WORDS, tokens, tokens, loss=np.full(3, math.log(10)))
        assert values["perplexity"] == pytest.approx(10)

    def test_perplexity_is_for_tokens_only(self) -> None:
        rows = np.zeros((2, 2))
        assert measure_all("real_test_loss", PLANE, rows, rows, loss=np.ones(2))["perplexity"] is None

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_loss_that_is_not_finite_is_absent(self, bad: float) -> None:
        tokens = np.zeros((2, 4), np.int32)
        values = measure_all("real_test_loss", WORDS, tokens, tokens, loss=np.array([1.0, bad]))
        assert values == {"real_test_loss": None, "real_test_loss_stderr": None, "perplexity": None}

    def test_a_perplexity_beyond_doubles_is_absent_and_the_loss_stays(self) -> None:
        tokens = np.zeros((2, 4), np.int32)
        values = measure_all("real_test_loss", WORDS, tokens, tokens, loss=np.full(2, 1000.0))
        assert values == {"real_test_loss": 1000.0, "real_test_loss_stderr": 0.0, "perplexity": None}

    def test_one_row_has_no_standard_error(self) -> None:
        rows = np.zeros((1, 2))
        assert measure_all("real_test_loss", PLANE, rows, rows, loss=np.ones(1))["real_test_loss_stderr"] is None


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


class TestTokens:
    def test_distinct_n_by_hand(self) -> None:
        rows = np.array([[1, 2, 1, 2], [1, 2, 3, 3]], np.int32)
        # unigrams 1 2 3 of 8; bigrams 12 21 23 33 of 6; trigrams 121 212 123 233 of 4
        assert measure("distinct_n", WORDS, rows, rows) == {"distinct_1": 3 / 8, "distinct_2": 4 / 6, "distinct_3": 1.0}

    def test_distinct_n_keeps_orders_and_positions_apart(self) -> None:
        rows = np.array([[0, 0, 0, 1]], np.int32)  # 00 00 01 and 000 001: a leading 0 must count
        assert measure("distinct_n", WORDS, rows, rows) == {"distinct_1": 1 / 2, "distinct_2": 2 / 3, "distinct_3": 1.0}

    def test_distinct_n_keeps_the_last_token_of_the_vocabulary_apart(self) -> None:
        rows = np.array([[9, 0], [0, 1], [0, 9], [1, 0]], np.int32)  # four bigrams
        assert measure("distinct_n", Payload("tokens", (2,), vocab_size=10), rows, rows)["distinct_2"] == 1.0

    def test_distinct_n_with_samples_shorter_than_n(self) -> None:
        rows = np.array([[4, 4], [4, 5]], np.int32)
        values = measure("distinct_n", Payload("tokens", (2,), vocab_size=10), rows, rows)
        assert values == {"distinct_1": 1 / 2, "distinct_2": 1.0, "distinct_3": None}

    def test_distinct_3_of_a_large_vocabulary(self) -> None:
        top = 250_000
        rows = np.array([[top - 1, top - 1, top - 1], [top - 1, top - 1, top - 2]], np.int32)
        assert measure("distinct_n", Payload("tokens", (3,), vocab_size=top), rows, rows)["distinct_3"] == 1.0

    def test_novel_n_grams_by_hand(self) -> None:
        real = np.array([[1, 2, 3, 4]], np.int32)
        samples = np.array([[1, 2, 3, 3], [4, 1, 2, 3]], np.int32)
        # bigrams 33 and 41 of 6 are novel, trigrams 233 and 412 of 4
        assert measure("novel_ngrams", WORDS, real, samples) == {"novel_2": 2 / 6, "novel_3": 2 / 4}

    def test_a_novel_n_gram_counts_as_often_as_it_is_said(self) -> None:
        real, samples = np.array([[1, 1, 1, 1]], np.int32), np.array([[1, 1, 1, 1], [2, 2, 2, 2]], np.int32)
        assert measure("novel_ngrams", WORDS, real, samples) == {"novel_2": 1 / 2, "novel_3": 1 / 2}

    def test_vocabulary_coverage_by_hand(self) -> None:
        real = np.array([[1, 2, 3, 4], [1, 1, 1, 1]], np.int32)
        synthetic = np.array([[4, 4, 9, 1]], np.int32)
        assert measure("vocabulary_coverage", WORDS, real, synthetic) == {"vocabulary_coverage": 2 / 4}

    def test_rare_types_are_the_least_frequent_within_the_mass(self) -> None:
        counts = np.array([10, 5, 2, 1, 1, 1])  # of the types 0 to 5

        def rare(tail_mass: float) -> set[int]:
            return set(np.flatnonzero(rare_types(counts, tail_mass)).tolist())

        assert rare(0.05) == {3}  # one of 20 tokens; ties go to the smaller id
        assert rare(0.15) == {3, 4, 5}
        assert rare(0.2) == {3, 4, 5}  # type 2 would make it 5 of 20
        assert rare(0.25) == {2, 3, 4, 5}
        assert rare(0.04) == set()

    def test_types_that_do_not_occur_are_not_rare(self) -> None:
        assert rare_types(np.array([0, 3, 1, 0]), 0.5).tolist() == [False, False, True, False]
        assert rare_types(np.array([], np.int64), 0.5).tolist() == []

    def test_the_mass_is_a_decimal(self) -> None:
        """0.29 * 100 is 28.999999999999996 in doubles."""
        assert rare_types(np.array([71, 29]), 0.29).tolist() == [False, True]

    def test_rare_token_survival_by_hand(self) -> None:
        payload = Payload("tokens", (10,), vocab_size=10)
        real = np.array([[0] * 8 + [1, 2]], np.int32)
        synthetic = np.array([[0] * 9 + [2], [0] * 10], np.int32)
        values = measure({"kind": "rare_token_survival", "tail_mass": 0.2}, payload, real, synthetic)
        # 1 and 2 are rare, 2 survives; they were 2 of 10 tokens and are 1 of 20
        assert values == pytest.approx({"rare_token_survival": 1 / 2, "rare_token_share": (1 / 20) / (2 / 10)})

    def test_rare_token_survival_is_absent_without_a_tail(self) -> None:
        rows = np.array([[1, 1, 2, 2]], np.int32)
        values = measure("rare_token_survival", WORDS, rows, rows)
        assert values == {"rare_token_survival": None, "rare_token_share": None}

    def test_words_of_bytes_leave_out_the_cut_ends(self) -> None:
        rows = bytes_rows("the cat sat", "a cat\n is a")
        assert [words_of(row) for row in rows] == [[b"cat"], [b"cat", b"is"]]

    def test_vocabulary_coverage_of_words(self) -> None:
        metric = {"kind": "vocabulary_coverage", "unit": "word"}
        values = measure(metric, BYTES, bytes_rows("the cat sat", "a big cat s"), bytes_rows("some cat is"))
        assert values == {"vocabulary_coverage": 1 / 2}

    @pytest.mark.parametrize("kind", ["vocabulary_coverage", "rare_token_survival"])
    def test_words_of_other_tokens_are_refused(self, kind: str) -> None:
        spec = MetricSpec.resolve({"kind": kind, "unit": "word"})
        with pytest.raises(InvalidInput, match=f"{kind}.unit.*vocabulary of 10 .*'token'"):
            spec.empty(WORDS)


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
