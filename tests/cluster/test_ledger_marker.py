"""Marks that no meter takes: kept up to a limit, and never half of a piece of work."""

import pytest

from collapse_ray.energy.marks import Work
from collapse_ray.ledger import marker
from collapse_ray.ledger.marker import RayMarker

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_no_more_than_the_limit_is_kept_and_what_began_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(marker, "MAX_CALLS", 2)
    one = RayMarker("nobody", gpus=(), share=None, cpus=1.0)
    try:
        with one.working(Work("stage", "sweep", "a", 1, "train")), one.working(Work("stage", "sweep", "a", 1, "batch")):
            for _ in range(5):
                with one.working(Work("stage", "sweep", "a", 1, "dropped")):
                    pass
        calls = [(call.method, call.arguments["token"]) for call in one._waiting]
    finally:
        one._waiting.clear()
    (_, outer), (_, inner), *_ = calls
    assert calls == [("begin", outer), ("begin", inner), ("end", inner), ("end", outer)]
    assert [record.message for record in caplog.records].count(
        f"the meter {one._name} takes no marks; the time of those that follow counts as idle"
    ) == 1
