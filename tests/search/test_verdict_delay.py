"""The simulation of `benchmarks/verdict_delay.py`, at a smaller size: false alarms and delays of every verdict."""

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

ARMS, DEPTH, RATE = 250, 60, 0.05


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module("verdict_delay")


@pytest.fixture(scope="module")
def rows(benchmark: ModuleType) -> pd.DataFrame:
    return benchmark.verdict_rows(ARMS, DEPTH, (1, 3))


@pytest.mark.slow
def test_false_alarms_of_every_verdict(rows: pd.DataFrame) -> None:
    """Neither where nothing has changed nor where all of the tolerance is used up."""
    shares = rows[["false_alarm_fraction", "false_alarm_fraction_at_tolerance"]].to_numpy()
    assert shares.max() <= binom.isf(1e-4 / shares.size, ARMS, RATE) / ARMS


@pytest.mark.slow
def test_all_verdicts_are_simulated(rows: pd.DataFrame) -> None:
    """Definition 8 has no metric of tokens yet."""
    assert Counter(rows["payload"]) == {"image": 2 * 8, "tokens": 2 * 7, "vector": 2 * 8}


def test_every_collapse_is_seen(rows: pd.DataFrame) -> None:
    assert rows[["collapsing_missed_fraction", "collapsed_missed_fraction"]].to_numpy().max() == 0


def test_the_fixed_sample_test_is_broken_and_ours_is_not(benchmark: ModuleType) -> None:
    """The planted mistake raises an alarm on most healthy arms."""
    values = np.random.default_rng(0).standard_normal((1000, 3, 100))
    assert benchmark.spending(values).any(axis=1).mean() <= binom.isf(1e-4, 1000, RATE) / 1000
    assert benchmark.fixed_sample_z(values).any(axis=1).mean() > 0.5
