"""What only the real data can tell of a sweep, asked before anything is started."""

from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.payload import Payload, PayloadKind
from collapse_ray.evaluate.summaries import Evaluation
from collapse_ray.lineage.launch import check_execution
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.search.methods import frontier
from collapse_ray.search.series import STDERR
from collapse_ray.search.sources import Sources
from collapse_ray.search.spec import Sweep
from collapse_ray.search.trial import Point
from collapse_ray.search.verdict import VerdictSpec


def check_sweep(sweep: Sweep, sources: Sources | None = None) -> PayloadKind:
    """Opens the real data of every probed point, and checks that each lineage can run and can be judged.

    Args:
        sweep: to check.
        sources: what was opened stays open here, for whoever goes on with it.

    Returns:
        What the samples of all lineages are.

    Raises:
        InvalidInput: a lineage cannot run on its data, the lineages' samples are of several kinds, the stop rule could
            never end a lineage, or the frontier's verdict has no metric.
    """
    payloads: dict[PayloadKind, Point] = {}
    sources = Sources() if sources is None else sources
    evaluated: list[frozenset[str]] = []
    for point in sweep.probes:
        lineage = sweep.lineage(point, sweep.spec.seeds[0])
        check_execution(lineage, sweep.run)
        payload = _payload(sweep, point, lineage, sources)
        payloads.setdefault(payload.kind, point)
        evaluated.append(_meaningful(lineage, payload))
    if len(payloads) > 1:
        found = ", ".join(f"{kind} ({sweep.arm_label(point)})" for kind, point in payloads.items())
        raise InvalidInput(
            f"{sweep.where}: the lineages are of several kinds of samples: {found}; verdicts have other metrics for "
            "each, so make a sweep of each"
        )
    (kind,) = payloads
    _check_stop(sweep, kind, frozenset.intersection(*evaluated))
    if isinstance(sweep.spec.search, frontier.Spec):
        sweep.spec.search.problem(sweep.asked, kind)
    return kind


def _payload(sweep: Sweep, point: Point, lineage: LineageSpec, sources: Sources) -> Payload:
    try:
        return sources.open(lineage).data.payload
    except InvalidInput as error:
        raise InvalidInput(f"{sweep.where}, lineage {sweep.arm_label(point)}: {error}") from error


def _meaningful(lineage: LineageSpec, payload: Payload) -> frozenset[str]:
    """Values of the lineage's metrics that are not null for its payload."""
    summaries = Evaluation.empty(lineage.evaluate, payload).summaries
    return frozenset(name for names, summary in summaries.items() if summary is not None for name in names)


def _check_stop(sweep: Sweep, payload: PayloadKind, evaluated: frozenset[str]) -> None:
    stop, profile = sweep.spec.stop, sweep.spec.profile
    if stop is None:
        return
    try:
        stop.check(profile, payload)
    except InvalidInput as error:
        raise InvalidInput(f"{sweep.where}: {error}") from error
    named = [verdict for verdict in profile.verdicts if verdict.kind in stop.verdicts]
    deaf = {verdict.kind: why for verdict in named if (why := _never_decided(sweep, verdict, payload, evaluated))}
    if deaf and (stop.when == "all" or len(deaf) == len(named)):
        kind, why = next(iter(deaf.items()))
        raise InvalidInput(f"{sweep.where}: stop.verdicts: {kind} can never end a lineage: {why}")
    looks = [verdict.first_look for verdict in named if verdict.kind not in deaf]
    first = (max(looks) if stop.when == "all" else min(looks)) + stop.patience - 1
    if first >= sweep.spec.depth:
        raise InvalidInput(
            f"{sweep.where}: stop: ends a lineage after generation {first} at the earliest, and "
            f"depth={sweep.spec.depth} ends it no later; give a larger depth, a smaller stop.patience, or stop=null"
        )


def _never_decided(sweep: Sweep, verdict: VerdictSpec, payload: PayloadKind, evaluated: frozenset[str]) -> str | None:
    signal = verdict.signal(payload)
    if signal is None:
        return f"it has no metric for {payload}"
    if signal.metric not in evaluated:
        hint = did_you_mean(signal.metric, evaluated)
        return f"{signal.metric} is not evaluated by every lineage; {hint}; add it to base.evaluate.metrics"
    if signal.replicate_stddev is None and signal.metric + STDERR not in evaluated:
        return (
            f"a lineage is judged by itself while it runs, and {signal.metric} has no standard error that would tell "
            f"noise from collapse; give replicate_stddev in profile.verdicts[…].{payload}, or name a verdict of a "
            f"metric that has one ({', '.join(_with_error(sweep, payload, evaluated)) or 'there is none here'})"
        )
    return None


def _with_error(sweep: Sweep, payload: PayloadKind, evaluated: frozenset[str]) -> list[str]:
    """The verdicts that one lineage by itself can decide."""
    signals = {verdict.kind: verdict.signal(payload) for verdict in sweep.spec.profile.verdicts}
    return [
        kind
        for kind, signal in signals.items()
        if signal is not None and signal.metric in evaluated and signal.metric + STDERR in evaluated
    ]
