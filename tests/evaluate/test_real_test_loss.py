"""The loss on real rows, its standard error and its perplexity against values counted by hand."""

import math

import numpy as np
import pytest
from metric_values import PLANE, WORDS, measure_all


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
