"""Metrics of tokens against values counted by hand."""

import numpy as np
import pytest
from metric_values import WORDS, measure

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.evaluate.metrics.rare_token_survival import rare_types
from collapse_ray.evaluate.token_types import words_of

BYTES = Payload("tokens", (11,), vocab_size=256)


def bytes_rows(*rows: str) -> np.ndarray:
    return np.array([list(row.encode()) for row in rows], np.int32)


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
