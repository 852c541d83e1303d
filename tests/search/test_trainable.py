"""A lineage's report comes through Tune unchanged, and an error that would come again ends the lineage."""

import math
from collections.abc import Iterator

import pytest
from directed_sweeps import report

from collapse_ray.artifact.record import StoreError
from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.audit import PlanMismatch
from collapse_ray.search.report import Report
from collapse_ray.search.trainable import LineageTrial
from collapse_ray.train.worker import GroupFailed


def test_a_report_comes_through_tune_unchanged() -> None:
    for each in (report(2), Report(1, "failed", reason="no"), report(1, metrics={"a": None, "b": math.pi})):
        assert Report.of({**each.to_result(), "time_this_iter_s": 1.0, "pid": 7}) == each


def failing(error: Exception) -> LineageTrial:
    """A trial whose second generation fails, outside of an actor."""

    def reports() -> Iterator[Report]:
        yield report(1)
        raise error

    trial = LineageTrial.__new__(LineageTrial)
    trial._key, trial._generation, trial._reports = "a", 0, reports()
    return trial


@pytest.mark.parametrize(
    "error", [InvalidInput("no"), StoreError("full"), PlanMismatch("rows"), GroupFailed("four times")]
)
def test_an_error_that_would_come_again_ends_the_lineage(error: Exception) -> None:
    trial = failing(error)
    assert not trial.step()["done"]
    result = trial.step()
    assert result["done"]
    assert Report.of(result) == Report(1, "failed", reason=f"{type(error).__name__}: {error}")


def test_any_other_error_ends_the_process_which_tune_starts_again() -> None:
    trial = failing(MemoryError())
    trial.step()
    with pytest.raises(MemoryError):
        trial.step()
