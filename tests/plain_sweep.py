"""Sweeps without Ray: one lineage after the other, in this process."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from collapse_ray.artifact.store import Store
from collapse_ray.config.payload import PayloadKind
from collapse_ray.lineage.index import lineage_fingerprint, lineage_id
from collapse_ray.lineage.launch import Task, run_plain
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.prepare import Prepared, open_real
from collapse_ray.search.check import check_sweep
from collapse_ray.search.events import OnEvent, SweepEvent, ignore
from collapse_ray.search.frontier.search import FrontierSearch
from collapse_ray.search.methods import frontier
from collapse_ray.search.outcome import LineageOutcome, SweepDocument, SweepOutcome, write_sweep
from collapse_ray.search.profile import profile
from collapse_ray.search.series import Replicate, Series
from collapse_ray.search.spec import Sweep, load_sweep
from collapse_ray.search.trial import Trial
from collapse_ray.search.verdict import Verdict

GAUSSIAN: dict[str, Any] = {
    "base": {
        "source": {"kind": "normal", "num_samples": 25},
        "family": "gaussian",
        "evaluate": {"metrics": ["real_test_loss", "variance_ratio"], "num_samples": 200},
    },
    "axes": {"regime": ["replace", "accumulate"]},
    "depth": 4,
}


def sweep_of(folder: Path, *overrides: str, **keys: Any) -> Sweep:
    """A sweep of Gaussians with keys replaced, from a file in a folder that holds its store, too."""
    path = folder / "s.yaml"
    given = {**GAUSSIAN, "run": {"store": str(folder / "store")}, **keys}
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return load_sweep(path, overrides)


def run_plain_sweep(sweep: Sweep, on_event: OnEvent = ignore) -> SweepDocument:
    """Runs all of it; the document that it left in its store."""
    payload = check_sweep(sweep)
    method = sweep.spec.search
    if isinstance(method, frontier.Spec):
        search = FrontierSearch(method.problem(sweep.asked, payload))
        events = [_followed(sweep, payload, key, trial, search, on_event) for key, trial in _proposed(sweep, search)]
        outcome = SweepOutcome("complete", tuple(events), tuple(search.frontiers()))
    else:
        events = [_followed(sweep, payload, trial.key, trial, None, on_event) for trial in sweep.trials()]
        outcome = SweepOutcome("complete", tuple(events))
    return write_sweep(Store(sweep.run.store), sweep, outcome)


def _proposed(sweep: Sweep, search: FrontierSearch) -> Iterator[tuple[str, Trial]]:
    assert isinstance(sweep.spec.search, frontier.Spec)
    while not isinstance(proposal := search.propose(key := str(len(search.lineages))), str):
        yield key, Trial(sweep.spec.search.point(sweep.axes, proposal.values), proposal.seed)


def _followed(
    sweep: Sweep, payload: PayloadKind, key: str, trial: Trial, search: FrontierSearch | None, on_event: OnEvent
) -> LineageOutcome:
    """One lineage: judged by itself, and ended by the stop rule or the search."""
    lineage = sweep.lineage(trial.point, trial.seed)
    told: dict[str, Verdict] = {}

    def decide(progress: Progress) -> str | None:
        metrics = [record.metrics for record in progress.evaluations]
        series = Series(payload, (Replicate(trial.seed, dict(enumerate(metrics, start=1))),))
        told.update(profile(sweep.spec.profile, series))
        on_event(SweepEvent(trial, "running", generation=progress.generation, verdicts=dict(told)))
        if search is not None:
            assert isinstance(sweep.spec.search, frontier.Spec)
            response = sweep.spec.search.response(sweep.asked, payload).of(metrics[0], metrics[-1])
            search.observe(key, progress.generation, response, None)
            return search.decide(key)
        stopping = sweep.spec.stop.stops(told, progress.generation) if sweep.spec.stop else ()
        return "; ".join(f"{verdict.kind} {verdict.status}" for verdict in stopping) or None

    on_event(SweepEvent(trial, "running"))
    task = Task(sweep.lineage_name(trial.point), lineage, open_real(lineage), decide)
    (progress,) = run_plain([task], sweep.run)
    if search is not None:
        search.observe(key, progress.generation, math.inf, None) if progress.verdict == "diverged" else search.end(key)
    holdout = progress.samples[0]  # its fingerprint is not read
    of = lineage_id(task.name, lineage_fingerprint(lineage, Prepared(progress.samples[0], holdout)))
    assert progress.verdict != "running"
    event = SweepEvent(
        trial, progress.verdict, of, progress.generation, verdicts=dict(told), reason=progress.stopped_by
    )
    on_event(event)
    return LineageOutcome.of(event)
