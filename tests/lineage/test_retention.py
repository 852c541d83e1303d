"""Retention removes files, keeps records and changes nothing that a lineage finds."""

from pathlib import Path

import pytest
from finished_lineage import LINEAGE, changed, role
from plain_lineages import Ran, artifacts, gaussian, records, run


def kept(store: Path) -> set[str]:
    """Roles of the artifacts that still have files."""
    found = records(store)
    return {role(found[key]) for key, files in artifacts(store).items() if files}


ALWAYS = {"real train", "real holdout", "evaluation 1", "evaluation 2", "evaluation 3"}


MADE = {"model 1", "model 2", "model 3", "samples 1", "samples 2"}


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", MADE),
        ("last:2", {"model 2", "model 3", "samples 2"}),
        ("last:1", {"model 3"}),
        ("records", set[str]()),
    ],
)
@pytest.mark.parametrize("regime", ["replace", "accumulate"])
def test_retention_removes_files_and_keeps_records(keep: str, expected: set[str], regime: str, tmp_path: Path) -> None:
    run(tmp_path, gaussian(regime=regime), keep=keep)
    assert kept(tmp_path) == ALWAYS | expected
    found = records(tmp_path).values()
    assert {role(each) for each in found} == ALWAYS | MADE
    assert {role(each) for each in found if each.retired} == MADE - expected


@pytest.mark.parametrize("keep", ["last:1", "records"])
def test_a_finished_lineage_is_resumed_without_its_files(keep: str, tmp_path: Path) -> None:
    run(tmp_path, LINEAGE, keep=keep)
    before = changed(tmp_path)
    assert run(tmp_path, LINEAGE, keep=keep).computed == []
    assert changed(tmp_path) == before


def test_the_policy_may_be_tightened_afterwards(store: Path) -> None:
    assert run(store, LINEAGE, keep="records").computed == []
    assert kept(store) == ALWAYS


@pytest.mark.parametrize("keep", ["last:1", "records"])
@pytest.mark.parametrize("regime", ["replace", "accumulate"])
def test_extended_after_retention_it_gives_what_an_undisturbed_lineage_gives(
    keep: str, regime: str, tmp_path: Path
) -> None:
    whole = run(tmp_path / "whole", gaussian(regime=regime, depth=4))
    run(tmp_path / "cut", gaussian(regime=regime, depth=2), keep=keep)
    extended = run(tmp_path / "cut", gaussian(regime=regime, depth=4), keep="all")
    assert extended.metrics == whole.metrics
    assert fingerprints(extended) == fingerprints(whole)
    intact = artifacts(tmp_path / "whole")
    for key, files in artifacts(tmp_path / "cut").items():
        assert files in ({}, intact[key])


def fingerprints(ran: Ran) -> list[str]:
    return [found.fingerprint for found in (*ran.progress.models, *ran.progress.evaluations)]
