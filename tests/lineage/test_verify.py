import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chi2

from collapse_ray.config.errors import InvalidInput
from collapse_ray.lineage import verify as module
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.oracles import (
    ORACLES,
    Oracle,
    accumulate_drift,
    accumulate_variance,
    log_variance_mean,
    log_variance_variance,
    replace_mle_drift,
    replace_mle_variance,
)
from collapse_ray.lineage.verify import GENERATIONS, Check, compare, lineage_of, verify

REPLICAS = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all, so that each lineage is run once."""
    return str(tmp_path_factory.mktemp("verify"))


def differing(checks: list[Check]) -> list[tuple[str, int]]:
    return [(check.quantity, check.generation) for check in checks if check.verdict == "differs"]


# The closed forms against theory by another way ------------------------------------------------


def test_log_variance_is_that_of_a_chi_square() -> None:
    n = 7
    mean = chi2(n - 1).expect(lambda x: math.log(x / (n - 1)))
    square = chi2(n - 1).expect(lambda x: math.log(x / (n - 1)) ** 2)
    assert log_variance_mean(3, n) == pytest.approx(3 * mean, rel=1e-6)
    assert log_variance_variance(3, n) == pytest.approx(3 * (square - mean**2), rel=1e-6)


def test_replace_by_hand() -> None:
    assert replace_mle_variance(2, 20) == pytest.approx(361 / 400)
    assert replace_mle_drift(2, 20) == pytest.approx(39 / 400)


def test_accumulate_has_its_limit() -> None:
    """The infinite product of Euler for the sine."""
    limit = math.sin(math.pi / math.sqrt(20)) / (math.pi / math.sqrt(20))
    assert accumulate_variance(100_000, 20) == pytest.approx(limit, rel=1e-6)
    assert accumulate_drift(1, 20) == pytest.approx(1 / 20)


# Lineages against the closed forms -------------------------------------------------------------


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
def test_lineages_agree(oracle: Oracle, folder: str) -> None:
    checks = compare(oracle, lineage_of(oracle, REPLICAS, 0), folder)
    assert len(checks) == len(GENERATIONS) * len(oracle.quantities)
    assert differing(checks) == []


@pytest.mark.parametrize(("oracle", "planted"), [("O1", "O2"), ("O2", "O1"), ("O4", "O1"), ("O8", "O1"), ("O1", "O8")])
def test_a_wrong_divisor_or_regime_is_seen(oracle: str, planted: str, folder: str) -> None:
    assert differing(compare(ORACLES[oracle], lineage_of(ORACLES[planted], REPLICAS, 0), folder))


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("oracle", ["O1", "O2", "O4"])
def test_one_fit_too_many_or_too_few_is_seen(
    oracle: str, shift: int, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models of the generation beside the one that is asked for."""
    right = module.run_plain

    def shifted(*arguments: Any) -> list[Progress]:
        (progress,) = right(*arguments)
        models = progress.models[1:] if shift == 1 else [progress.models[0], *progress.models]
        return [dataclasses.replace(progress, models=[*models, models[-1]])]

    monkeypatch.setattr(module, "run_plain", shifted)
    assert differing(compare(ORACLES[oracle], lineage_of(ORACLES[oracle], REPLICAS, 0), folder))


def test_a_generation_trains_on_exactly_the_samples_that_the_oracles_count() -> None:
    lineage = lineage_of(ORACLES["O8"], 100, 0)
    plan = lineage.regime.plan(seed=0, generation=3, num_real=20)
    assert [len(part.rows) for part in plan.parts] == [20, 20, 20]


# Refusals --------------------------------------------------------------------------------------


def test_an_unknown_oracle_lists_the_others() -> None:
    with pytest.raises(InvalidInput, match=r"no oracle 'O3'; .*O1, O2, O4, O8"):
        verify(["O3"], 200, 0)


def test_too_few_replicas_and_a_negative_seed_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"replicas=99: .*at least 100"):
        verify([], 99, 0)
    with pytest.raises(InvalidInput, match="seed=-1"):
        verify([], 100, -1)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert {check.oracle for check in verify(["O1"], 100, 0)} == {"O1"}
    assert list(tmp_path.iterdir()) == []
