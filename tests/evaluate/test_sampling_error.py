"""Standard errors of metrics against closed forms, and against how much values differ between many draws."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import (
    ALL_GROUPS,
    NUM_GROUPS,
    Share,
    even_halves,
    group_of,
    half_samples,
    in_mask,
    share_stderr,
    share_stderr_of_halves,
    stderr_of_halves,
)
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.evaluate.occurrences import Occurrences, at

Draw = Callable[[], np.ndarray]


def measure(kind: str, payload: Payload, real: np.ndarray, synthetic: np.ndarray) -> dict[str, float | None]:
    summary = MetricSpec.resolve(kind).empty(payload)
    assert summary is not None
    summary.update_real(np.arange(len(real)), real, np.zeros(len(real)))
    summary.update_synthetic(np.arange(len(synthetic)), synthetic)
    return summary.compute()


def reported_over_true(kind: str, payload: Payload, real: Draw, synthetic: Draw, draws: int) -> dict[str, float]:
    """For each value, the root mean square of its standard errors over the standard deviation between draws."""
    found = [measure(kind, payload, real(), synthetic()) for _ in range(draws)]
    names = [name for name in found[0] if f"{name}_stderr" in found[0]]
    columns = {name: np.array([values[name] for values in found], np.float64) for name in found[0]}
    return {name: float(np.sqrt(np.mean(columns[f"{name}_stderr"] ** 2)) / columns[name].std(ddof=1)) for name in names}


class TestVarianceRatio:
    def test_gaussian_rows_have_the_closed_form(self) -> None:
        """The total variance of N Gaussian rows in D dimensions has the relative variance 2 / (D N)."""
        rng = np.random.default_rng(0)
        values = measure(
            "variance_ratio", Payload("vector", (50,)), rng.normal(size=(400, 50)), rng.normal(size=(500, 50))
        )
        assert values["variance_ratio"] is not None
        expected = values["variance_ratio"] * math.sqrt(2 / 50 * (1 / 400 + 1 / 500))
        assert values["variance_ratio_stderr"] == pytest.approx(expected, rel=0.08)

    def test_skewed_rows(self) -> None:
        rng = np.random.default_rng(1)
        found = reported_over_true(
            "variance_ratio",
            Payload("vector", (2,)),
            lambda: rng.exponential(size=(300, 2)),
            lambda: 0.7 * rng.exponential(size=(800, 2)),  # more than are kept
            400,
        )
        assert found["variance_ratio"] == pytest.approx(1, abs=0.12)

    def test_replicas_that_share_their_noise(self) -> None:
        """All replicas of a row are the same, so that they are worth one."""
        rng = np.random.default_rng(2)
        found = reported_over_true(
            "variance_ratio",
            Payload("vector", (30, 1)),
            lambda: np.repeat(rng.normal(size=(100, 1, 1)), 30, axis=1),
            lambda: np.repeat(rng.normal(size=(80, 1, 1)), 30, axis=1),
            400,
        )
        assert found["variance_ratio"] == pytest.approx(1, abs=0.12)

    def test_the_jackknife_leaves_rows_out_one_by_one(self) -> None:
        rng = np.random.default_rng(3)
        real, synthetic = rng.exponential(size=(9, 2)), rng.exponential(size=(7, 2))

        def jackknife(rows: np.ndarray) -> float:
            without = [np.delete(rows, i, axis=0).var(axis=0, ddof=1).sum() for i in range(len(rows))]
            return (len(rows) - 1) * float(np.var(without))

        whole, ours = (rows.var(axis=0, ddof=1).sum() for rows in (real, synthetic))
        expected = ours / whole * math.sqrt(jackknife(synthetic) / ours**2 + jackknife(real) / whole**2)
        values = measure("variance_ratio", Payload("vector", (2,)), real, synthetic)
        assert values["variance_ratio_stderr"] == pytest.approx(expected)

    def test_absent_below_three_rows(self) -> None:
        rows = np.arange(6.0).reshape(3, 2)
        payload = Payload("vector", (2,))
        assert measure("variance_ratio", payload, rows, rows[:2])["variance_ratio_stderr"] is None
        assert measure("variance_ratio", payload, rows, rows)["variance_ratio_stderr"] is not None


class TestFrechetDistance:
    def test_one_dimension_has_the_closed_form(self) -> None:
        """(m1 - m2)^2 + (s1 - s2)^2 of Gaussian rows: a mean has the variance s^2 / N, s itself s^2 / 2N."""
        rng = np.random.default_rng(4)
        real, synthetic = rng.normal(0, 1, (3000, 1)), rng.normal(1, 2, (2000, 1))
        values = measure("frechet_distance", Payload("vector", (1,)), real, synthetic)
        expected = math.sqrt(4 * (1 / 3000 + 4 / 2000) + 4 * (1 / 6000 + 4 / 4000))
        assert values["frechet_distance_stderr"] == pytest.approx(expected, rel=0.1)

    @pytest.mark.parametrize(
        ("num_real", "num_synthetic", "size"), [(300, 800, 6), (50, 40, 60)], ids=["many rows", "singular"]
    )
    def test_rows_that_are_not_gaussian(self, num_real: int, num_synthetic: int, size: int) -> None:
        rng = np.random.default_rng(5)
        mixing = rng.normal(size=(size, size)) / math.sqrt(size)
        found = reported_over_true(
            "frechet_distance",
            Payload("vector", (size,)),
            lambda: rng.exponential(size=(num_real, size)) @ mixing,
            lambda: 0.7 * rng.exponential(size=(num_synthetic, size)) + 0.3,
            150,
        )
        assert 0.85 < found["frechet_distance"] < 1.3

    def test_too_large_but_not_by_far_where_the_distance_is_all_bias(self) -> None:
        rng = np.random.default_rng(6)
        found = reported_over_true(
            "frechet_distance",
            Payload("vector", (6,)),
            lambda: rng.normal(size=(300, 6)),
            lambda: rng.normal(size=(300, 6)),
            200,
        )
        assert 1 < found["frechet_distance"] < 1.75


class TestPrecisionRecall:
    @pytest.mark.slow
    @pytest.mark.parametrize(("scale", "shift"), [(0.7, 0.0), (1.0, 0.7)], ids=["narrower", "shifted"])
    def test_the_error_of_all_values(self, scale: float, shift: float) -> None:
        rng = np.random.default_rng(7)
        found = reported_over_true(
            "precision_recall",
            Payload("vector", (3,)),
            lambda: rng.normal(size=(250, 3)),
            lambda: scale * rng.normal(size=(300, 3)) + shift,
            120,
        )
        if scale < 1:  # all but one sample in 500 lie within the real rows: known to one row only
            assert 1 < found.pop("precision") < 2
        assert all(0.7 < ratio < 1.4 for ratio in found.values()), found

    def test_all_or_nothing_is_known_to_one_row(self) -> None:
        rng = np.random.default_rng(8)
        real = rng.normal(size=(200, 2))
        far = measure("precision_recall", Payload("vector", (2,)), real, real[:150] + 1000)
        assert (far["precision"], far["recall"]) == (0, 0)
        assert far["precision_stderr"] == pytest.approx(1 / 150, rel=0.01)
        assert far["recall_stderr"] == pytest.approx(1 / 200, rel=0.01)

    def test_absent_where_parts_have_too_few_rows(self) -> None:
        rows = np.random.default_rng(9).normal(size=(12, 2))
        payload = Payload("vector", (2,))
        few = measure("precision_recall", payload, rows[:11], rows)
        assert few["precision"] is not None
        assert {few[name] for name in few if name.endswith("_stderr")} == {None}
        assert measure("precision_recall", payload, rows, rows)["precision_stderr"] is not None

    def test_the_deal_is_fixed(self) -> None:
        rows = np.random.default_rng(10).normal(size=(120, 2))
        first = measure("precision_recall", Payload("vector", (2,)), rows[:60], rows[60:])
        assert measure("precision_recall", Payload("vector", (2,)), rows[:60], rows[60:]) == first


def text(rng: np.random.Generator, num_rows: int, exponent: float) -> np.ndarray:
    """Rows (N, 40) of 2,000 types whose frequencies follow Zipf's law; a third of a row is from one of 20 topics.

    A topic repeats its 30 types, so that the tokens of a row depend on each other.
    """
    frequencies = np.arange(1, 2001.0) ** -exponent
    tokens = rng.choice(2000, (num_rows, 40), p=frequencies / frequencies.sum())
    topics = np.random.default_rng(0).integers(0, 2000, (20, 30))
    topical = topics[rng.integers(0, 20, (num_rows, 1)), rng.integers(0, 30, tokens.shape)]
    return np.where(rng.random(tokens.shape) < 1 / 3, topical, tokens).astype(np.int32)


class TestTokens:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("distinct_n", {"distinct_2", "distinct_3"}),
            ("novel_ngrams", {"novel_2", "novel_3"}),
            ("vocabulary_coverage", {"vocabulary_coverage"}),
            ("rare_token_survival", {"rare_token_survival"}),
        ],
    )
    def test_the_error_of_all_values(self, kind: str, names: set[str]) -> None:
        rng = np.random.default_rng(11)
        payload = Payload("tokens", (40,), vocab_size=2000)
        found = reported_over_true(kind, payload, lambda: text(rng, 300, 1.0), lambda: text(rng, 300, 1.1), 80)
        assert all(0.7 < found[name] < 1.4 for name in names), found
        assert 0.7 < found.get("rare_token_share", 1) < 1.7  # half of the rows have another tail

    def test_rows_count_not_tokens(self) -> None:
        """Each row says one token 40 times: as many coins as rows, not as tokens. Share 1/2, error (1/4 / N)^(1/2)."""
        payload = Payload("tokens", (40,), vocab_size=2000)
        rng = np.random.default_rng(12)
        real = np.array([[*range(20), *range(20)]], np.int32).repeat(200, axis=0)
        samples = np.repeat(rng.choice([0, 1999], (400, 1)), 40, axis=1).astype(np.int32)
        values = measure("novel_ngrams", payload, real, samples)
        assert values["novel_2"] == pytest.approx(1, abs=0.01)  # 0 0 is as novel as 1999 1999
        real[:, 20:] = 0
        values = measure("novel_ngrams", payload, real, samples)
        assert values["novel_2"] == pytest.approx(0.5, abs=0.08)
        assert values["novel_2_stderr"] == pytest.approx(math.sqrt(0.25 / 400), rel=0.4)

    @pytest.mark.parametrize("kind", ["distinct_n", "novel_ngrams", "vocabulary_coverage", "rare_token_survival"])
    def test_absent_for_a_single_sample(self, kind: str) -> None:
        rng = np.random.default_rng(13)
        payload = Payload("tokens", (40,), vocab_size=2000)
        values = measure(kind, payload, text(rng, 100, 1.0), text(rng, 1, 1.0))
        assert {values[name] for name in values if name.endswith("_stderr")} == {None}
        assert None not in {values[name] for name in values if not name.endswith("_stderr")}


class TestHalves:
    def test_halves_are_balanced(self) -> None:
        """32 groups each; the differences of any two pairs of halves are orthogonal."""
        signs = np.array([2 * in_mask(half).astype(int) - 1 for half in half_samples()[:, 0]])
        np.testing.assert_array_equal(signs @ signs.T, NUM_GROUPS * np.eye(len(signs)))
        assert (signs.sum(axis=1) == 0).all()
        complements = np.array([in_mask(half) for half in half_samples()[:, 1]])
        np.testing.assert_array_equal(complements, signs < 0)

    @pytest.mark.parametrize("period", [1, 2, 7, 64, 128])
    def test_groups_of_periodic_ids_have_nearly_the_same_size(self, period: int) -> None:
        sizes = np.bincount(group_of(period * np.arange(6400)), minlength=NUM_GROUPS)
        assert sizes.min() >= 95 and sizes.max() <= 105

    def test_the_error_of_a_mean_is_that_between_groups(self) -> None:
        """All 63 half-samples would give exactly the variance between groups over their number (McCarthy 1969)."""
        values = np.random.default_rng(14).normal(size=NUM_GROUPS)
        stderr = stderr_of_halves(lambda groups: float(values[in_mask(groups)].mean()), half_samples())
        assert stderr == pytest.approx(values.std(ddof=1) / math.sqrt(NUM_GROUPS), rel=0.25)

    def test_halves_of_one_row_are_never_even(self) -> None:
        one, many = np.zeros(NUM_GROUPS, int), np.full(NUM_GROUPS, 10)
        one[3] = 1
        assert len(even_halves(many)) == len(half_samples())
        assert len(even_halves(many, one)) == 0

    def test_independent_things_have_the_binomial_error(self) -> None:
        flips = np.random.default_rng(15).random(64_000) < 0.2
        parts = flips.reshape(8, 8000).mean(axis=1).reshape(4, 2)
        stderr = share_stderr(Share(float(flips.mean()), len(flips)), parts, 8000)
        assert stderr == pytest.approx(math.sqrt(0.16 / 64_000), rel=0.7)

    def test_absent_where_no_half_is_known(self) -> None:
        assert share_stderr_of_halves(lambda groups: Share(None, 0), half_samples()) is None
        assert stderr_of_halves(lambda groups: None, half_samples()) is None


class TestOccurrences:
    def test_types_are_counted_by_group(self) -> None:
        ids = np.array([5, 5, 6, 6, 6])
        seen = Occurrences()
        seen.update(ids[:3], np.array([9, 9, 7]))
        seen.update(ids[3:], np.array([9, 4]))
        table, (first, second) = seen.table(), (1 << group_of(np.array([5, 6])).astype(np.uint64)).tolist()
        assert table.types.tolist() == [4, 7, 9]
        assert table.groups.tolist() == [second, second, first | second]
        assert table.counts_in(ALL_GROUPS).tolist() == [1, 1, 3]
        assert table.counts_in(np.uint64(first)).tolist() == [0, 0, 2]
        assert seen.total(np.uint64(first)) == 2
        assert at(table.counts_in(ALL_GROUPS), table.index_of(np.array([3, 9, 10]))).tolist() == [0, 3, 0]

    def test_nothing_was_seen(self) -> None:
        table = Occurrences().table()
        assert len(table.types) == len(table.groups) == len(table.counts_in(ALL_GROUPS)) == 0
        assert at(table.groups, table.index_of(np.array([3]))).tolist() == [0]
