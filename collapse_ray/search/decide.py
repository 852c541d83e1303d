"""One verdict from the series of one arm."""

from dataclasses import dataclass

import numpy as np

from collapse_ray.search.sequential import Contrasts, adjusted, contrasts, spent
from collapse_ray.search.series import STDERR, Failure, Measured, Series
from collapse_ray.search.verdict import Criterion, Evidence, Signal, Status, Verdict, VerdictSpec


@dataclass(frozen=True, eq=False)
class Decisions:
    """Always-valid p-values (..., T): each may be compared with the whole false alarm rate after every generation.

    `collapsing` and `collapsed` are those of "never yet worse than the tolerance" and "than the threshold", the
    smallest so far; `healthy` is that of "now at least as bad as the threshold".
    """

    collapsing: np.ndarray
    collapsed: np.ndarray
    healthy: np.ndarray
    criteria: tuple[tuple[Criterion, Contrasts], ...]


def decisions(
    spec: VerdictSpec, signal: Signal, generations: np.ndarray, values: np.ndarray, variances: np.ndarray | None
) -> Decisions:
    """What can be said after each generation of one or many arms, from that generation and those before it only.

    Args:
        spec: the definition.
        signal: its signal for the payload at hand.
        generations: (T,) ascending, from 1 on.
        values: (..., S, T) of the signal's metric, S replicates.
        variances: (..., S, T) squared standard errors; None where they are not known.
    """
    badness, noise = signal.badness(values), signal.noise(values, variances)
    known = signal.replicate_stddev is not None
    criteria = tuple(
        (criterion, contrasts(badness, criterion.weights, noise, known=known))
        for criterion in spec.criteria(signal, generations)
    )
    look = _looks(spec, generations)
    # Collapse must show in all criteria: it is as sure as the least sure of them (an intersection-union test).
    collapsing = np.max([found.p_above(criterion.tolerance) for criterion, found in criteria], axis=0)
    collapsed = np.max([found.p_above(criterion.threshold) for criterion, found in criteria], axis=0)
    # One criterion that denies it is enough, and there are as many chances to err.
    healthy = len(criteria) * np.min([found.p_below(criterion.threshold) for criterion, found in criteria], axis=0)
    return Decisions(
        np.minimum.accumulate(adjusted(collapsing, look), axis=-1),
        np.minimum.accumulate(adjusted(collapsed, look), axis=-1),
        adjusted(healthy, look),
        criteria,
    )


def judge(spec: VerdictSpec, series: Series, false_alarm_rate: float) -> Verdict:
    """The verdict on what is known of an arm: a pure function, the same however often and whenever it is called."""
    signal = spec.signal(series.payload)
    if signal is None:
        return _not_measured(spec, f"no metric is named for {series.payload}")
    measured = series.measured(signal.metric)
    if measured is None:
        return _not_measured(spec, f"{signal.metric} has no value at generation 1")
    if len(measured.generations) == 0:
        return _failed(spec, measured.failure, None)
    first = float(measured.values[:, 0].mean())
    if signal.hidden(first):
        return _not_measured(
            spec,
            f"{signal.metric} is {first:.4g} at generation 1: too near to the floor {signal.floor:g} to show a loss",
        )
    decided = _decided(spec, signal, measured, false_alarm_rate)
    return decided if measured.failure is None else _failed(spec, measured.failure, decided)


def _decided(spec: VerdictSpec, signal: Signal, measured: Measured, rate: float) -> Verdict:
    found = decisions(spec, signal, measured.generations, measured.values, measured.variances)
    alarms = np.flatnonzero(found.collapsing <= rate)
    collapses = np.flatnonzero(found.collapsed <= rate)
    latest = len(measured.generations) - 1
    # What is shown is the look that raised an alarm, else the latest one; what is healthy has been so for a while.
    status: Status = "undecided"
    since, shown, p_value = None, latest, None
    if len(collapses):
        status, since, shown, p_value = "collapsed", int(collapses[0]), int(collapses[0]), found.collapsed
    elif len(alarms):
        status, since, shown, p_value = "collapsing", int(alarms[0]), int(alarms[0]), found.collapsing
    elif found.healthy[latest] <= rate:
        doubts = np.flatnonzero(found.healthy > rate)
        status, since, p_value = "healthy", int(doubts[-1]) + 1, found.healthy
    evidence = _evidence(spec, signal, measured, found, shown, rate)
    return Verdict(
        spec.kind,
        spec.definition,
        status,
        _sentence(spec, evidence),
        generation=None if since is None else int(measured.generations[since]),
        alarm_generation=int(measured.generations[alarms[0]]) if len(alarms) else None,
        confidence=None if p_value is None else 1 - float(p_value[latest]),
        evidence=evidence,
    )


def _failed(spec: VerdictSpec, failure: Failure | None, before: Verdict | None) -> Verdict:
    """Values that are not finite are collapse, beyond any test; a collapse that was decided before them stays."""
    if failure is None or (before is not None and before.status == "collapsed"):
        return before or _not_measured(spec, "the replicates have no generation in common yet")
    return Verdict(
        spec.kind,
        spec.definition,
        "collapsed",
        failure.reason,
        generation=failure.generation,
        alarm_generation=(before and before.alarm_generation) or failure.generation,
        confidence=1.0,
        evidence=before.evidence if before else (),
    )


def _not_measured(spec: VerdictSpec, reason: str) -> Verdict:
    return Verdict(spec.kind, spec.definition, "not measured", reason)


def _looks(spec: VerdictSpec, generations: np.ndarray) -> np.ndarray:
    """Number (T,) of the look at each generation, from 1 on; less before the first."""
    return generations - spec.first_look + 1.0


def _evidence(
    spec: VerdictSpec, signal: Signal, measured: Measured, found: Decisions, at: int, rate: float
) -> tuple[Evidence, ...]:
    level = spent(rate, np.maximum(_looks(spec, measured.generations), 1))
    evidence = []
    for criterion, contrast in found.criteria:
        worsening, margin = float(contrast.value[at]), float(contrast.margin(level)[at])
        known = np.isfinite(margin)
        low, high = (
            sorted((signal.change(worsening - margin), signal.change(worsening + margin))) if known else (None,) * 2
        )
        evidence.append(
            Evidence(
                criterion=criterion.name,
                metric=signal.metric,
                scale=signal.scale,
                generation=int(measured.generations[at]),
                first=float(measured.values[:, 0].mean()),
                value=float(measured.values[:, at].mean()),
                change=signal.change(worsening),
                low=low,
                high=high,
                tolerance=signal.change(criterion.tolerance),
                threshold=signal.change(criterion.threshold),
                num_replicates=len(measured.values),
                noise=_noise(signal, measured, contrast),
            )
        )
    return tuple(evidence)


def _noise(signal: Signal, measured: Measured, contrast: Contrasts) -> str:
    sources = []
    if signal.replicate_stddev is not None:
        sources.append("given")
    if contrast.replicate_stderr is not None:
        sources.append("replicates")
    if measured.variances is not None:
        sources.append("sampling")
    return ", ".join(sources) or "unknown"


def _sentence(spec: VerdictSpec, evidence: tuple[Evidence, ...]) -> str:
    """The first criterion in words, and what is wanting for a decision."""
    shown = evidence[0]
    form = ".3g" if shown.scale == "ratio" else "+.3g"
    bounds = "" if shown.low is None else f" ({shown.low:{form}} to {shown.high:{form}})"
    words = (
        f"{shown.metric} {shown.value:.4g} at generation {shown.generation}: {shown.criterion} "
        f"{shown.scale} {shown.change:{form}}{bounds}, tolerance {shown.tolerance:{form}}, "
        f"threshold {shown.threshold:{form}}"
    )
    if shown.generation < spec.first_look:
        return f"{words}; decided from generation {spec.first_look} on"
    if shown.low is None:
        return f"{words}; its error is not known: add seeds, {shown.metric}{STDERR} or the signal's replicate_stddev"
    return f"{words}; noise from {shown.noise}"
