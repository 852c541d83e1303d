"""The document of a sweep, and the results that name it."""

import json
import math
from pathlib import Path

import pytest
from plain_sweep import run_plain_sweep, sweep_of

import collapse_ray
from collapse_ray.artifact.record import OtherSchema, StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import id_of, read_indices
from collapse_ray.search.events import SweepEvent
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.outcome import LineageOutcome, SweepOutcome, read_sweep, read_sweeps, write_sweep
from collapse_ray.search.trial import Trial
from collapse_ray.search.verdict import Evidence, Verdict

EVIDENCE = Evidence("change", "m", "ratio", 3, 1.0, 0.4, 0.4, None, None, 0.9, 0.5, 1, "unknown")
VERDICT = Verdict("lost_tail", 7, "collapsed", "why", 3, 2, 1.0, (EVIDENCE,))


def outcome() -> SweepOutcome:
    trial = Trial({"regime": {"kind": "mix", "real_fraction": 0.5}, "depth": None}, 4)
    event = SweepEvent(trial, "stopped", "s-mix-01234567", 3, verdicts={"lost_tail": VERDICT}, reason="why")
    return SweepOutcome("exhausted", (LineageOutcome.of(event),))


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    sweep, store = sweep_of(tmp_path, stop={}), Store(str(tmp_path / "store"))
    assert read_sweep(store, sweep) is None
    written = write_sweep(store, sweep, outcome())
    assert read_sweep(store, sweep) == written
    assert read_sweeps(store) == [written]
    assert written.outcome.lineages[0].verdicts["lost_tail"].evidence == (EVIDENCE,)
    assert (tmp_path / "store" / "sweeps" / f"s-{sweep.fingerprint}.json").is_file()


def test_what_was_asked_can_be_asked_again(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, stop={}, axes={"regime": ["replace", {"kind": "mix", "real_fraction": 0.5}]})
    written = write_sweep(Store(str(tmp_path / "store")), sweep, outcome())
    assert written.asked == sweep.spec.model_copy(update={"run": written.asked.run})
    assert str(tmp_path) not in json.dumps(written.spec)


def test_frontiers_may_reach_beyond_their_axis(tmp_path: Path) -> None:
    found = Frontier(
        arm=(("regime", "mix"),),
        at=(),
        estimate=None,
        lower=0.5,
        upper=None,
        width=0.5,
        censored="none_survives",
        num_lineages=8,
        precise=False,
        fall_p_value=1.0,
    )
    sweep, store = sweep_of(tmp_path), Store(str(tmp_path / "store"))
    write_sweep(store, sweep, SweepOutcome("complete", (), (found,)))
    again = read_sweep(store, sweep)
    assert again is not None
    assert again.outcome.frontiers == (found,)


def test_a_document_keeps_when_it_was_created(tmp_path: Path) -> None:
    sweep, store = sweep_of(tmp_path), Store(str(tmp_path / "store"))
    first = write_sweep(store, sweep, SweepOutcome("running", ()))
    second = write_sweep(store, sweep, outcome())
    assert (second.created_at, second.outcome.state) == (first.created_at, "exhausted")
    assert second.updated_at >= first.updated_at


def test_a_damaged_document_says_what_to_do(tmp_path: Path) -> None:
    sweep, store = sweep_of(tmp_path), Store(str(tmp_path / "store"))
    write_sweep(store, sweep, outcome())
    path = f"sweeps/s-{sweep.fingerprint}.json"
    content = json.loads(store.read_document(path) or b"")
    store.write_document(path, json.dumps({**content, "schema_version": 99}).encode())
    with pytest.raises(OtherSchema, match="schema version 99"):
        read_sweep(store, sweep)
    for broken in (b"{", json.dumps({**content, "outcome": {}}).encode(), b"[]"):
        store.write_document(path, broken)
        with pytest.raises(StoreError, match="cannot be read"):
            read_sweep(store, sweep)


def test_results_name_the_sweep_that_ran_last(tmp_path: Path) -> None:
    alone = sweep_of(tmp_path, axes={"regime": ["replace"]}, depth=2)
    both = sweep_of(tmp_path, depth=2)
    store = Store(both.run.store)
    run_plain_sweep(both)
    assert set(collapse_ray.load(both.run.store)["sweep"]) == {both.id}
    run_plain_sweep(alone)
    results = collapse_ray.load(both.run.store)
    names = {id_of(index): index["regime"] for index in read_indices(store)}
    expected = {of: alone.id if regime == "replace" else both.id for of, regime in names.items()}
    assert dict(zip(results["lineage"], results["sweep"], strict=True)) == expected


def test_lineages_that_belong_to_no_sweep_have_none(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, depth=2)
    run_plain_sweep(sweep)
    for path in (tmp_path / "store" / "sweeps").iterdir():
        path.unlink()
    assert collapse_ray.load(sweep.run.store)["sweep"].dropna().tolist() == []


def test_values_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    evidence = Evidence("change", "m", "ratio", 3, 1.0, math.inf, 0.4, None, None, 0.9, 0.5, 1, "unknown")
    verdict = Verdict("lost_tail", 7, "collapsed", "why", 3, 2, 1.0, (evidence,))
    lineage = LineageOutcome({"regime": "mix"}, 0, "stopped", verdicts={"lost_tail": verdict})
    sweep, store = sweep_of(tmp_path), Store(str(tmp_path / "store"))
    write_sweep(store, sweep, SweepOutcome("running", (lineage,)))
    again = read_sweep(store, sweep)
    assert again is not None
    assert again.outcome.lineages[0].verdicts["lost_tail"].evidence[0].value == math.inf
