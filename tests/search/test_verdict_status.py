"""The five statuses, their evidence, and what is not finite or not there."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.profile import ProfileSpec, profile
from collapse_ray.search.series import Replicate, Series, series_of_results
from collapse_ray.search.verdict import Verdict, VerdictSpec

NO_SIGNAL = ProfileSpec(
    verdicts=(
        *ProfileSpec().verdicts[:-1],
        VerdictSpec.resolve({"kind": "hallucinated_data", "tokens": None}),
    )
)
"""Definition 8 names no metric of tokens."""
WIKITEXT2 = Path(__file__).parents[2] / "benchmarks" / "results" / "wikitext2.csv"


def tokens(losses: list[float | None], stderr: float | None = 0.01, seed: int = 0) -> Replicate:
    metrics = {t: {"real_test_loss": loss} for t, loss in enumerate(losses, start=1)}
    if stderr is not None:
        metrics = {t: {**values, "real_test_loss_stderr": stderr} for t, values in metrics.items()}
    return Replicate(seed, metrics)


def verdict(*replicates: Replicate, kind: str = "catastrophic_risk") -> Verdict:
    return profile(ProfileSpec(), Series("tokens", replicates))[kind]


def test_every_status_of_one_replicate() -> None:
    """Limits of 0.223 and 0.405 nats, an error of 0.0141 and a quantile of 1.96 at generation 2."""
    statuses = [verdict(tokens([5.0, 5.0 + rise])).status for rise in (0.0, 0.24, 0.26, 0.42, 0.44)]
    assert statuses == ["healthy", "healthy", "collapsing", "collapsing", "collapsed"]
    assert verdict(tokens([5.0, 5.3], stderr=0.2)).status == "undecided"


def test_confidence_and_bounds_by_hand() -> None:
    """Look 2 has the level 0.05 / 6 and the factor 6; H0 of collapsed: a rise of at most 0.405."""
    found = verdict(tokens([5.0, 5.1, 5.5]))
    error = math.sqrt(2) * 0.01
    assert (found.status, found.generation, found.alarm_generation) == ("collapsed", 3, 3)
    assert found.confidence == pytest.approx(1 - 6 * norm.sf((0.5 - 0.405) / error))
    (evidence,) = found.evidence
    quantile = norm.isf(0.05 / 6)
    assert (evidence.first, evidence.value, evidence.noise) == (5.0, 5.5, "sampling")
    assert [evidence.low, evidence.high] == pytest.approx([0.5 - quantile * error, 0.5 + quantile * error])


def test_an_alarm_is_not_taken_back() -> None:
    found = verdict(tokens([5.0, 5.0, 5.3, 5.0, 5.0]))
    assert (found.status, found.generation) == ("collapsing", 3)


def test_healthy_since() -> None:
    """At generation 3 the collapse cannot be ruled out; from generation 4 on it can."""
    stderr = {3: 0.3}
    metrics = {t: {"real_test_loss": 5.2, "real_test_loss_stderr": stderr.get(t, 0.01)} for t in range(1, 7)}
    replicate = Replicate(0, metrics)
    found = verdict(replicate)
    assert (found.status, found.generation, found.evidence[0].generation) == ("healthy", 4, 6)


def test_one_replicate_without_an_error_is_undecided() -> None:
    found = verdict(tokens([5.0, 9.0], stderr=None))
    assert found.status == "undecided"
    assert found.confidence is None
    assert "add seeds" in found.reason


def test_a_known_spread_of_replicates_decides_for_one_seed() -> None:
    spec = ProfileSpec.model_validate_json(
        json.dumps({"verdicts": [{"kind": "catastrophic_risk", "tokens": {
            "metric": "real_test_loss", "worse": "higher", "scale": "difference",
            "tolerance": 0.2, "threshold": 0.4, "replicate_stddev": 0.05}}]})
    )  # fmt: skip
    found = profile(spec, Series("tokens", (tokens([5.0, 5.6], stderr=None),)))["catastrophic_risk"]
    assert (found.status, found.evidence[0].noise) == ("collapsed", "given")
    assert found.confidence == pytest.approx(1 - 2 * norm.sf((0.6 - 0.4) / (math.sqrt(2) * 0.05)))


def test_replicates_are_noise_enough() -> None:
    found = verdict(*(tokens([5.0 + s / 100, 5.5 - s / 100], stderr=None, seed=s) for s in range(3)))
    assert (found.status, found.evidence[0].noise, found.evidence[0].num_replicates) == ("collapsed", "replicates", 3)


def test_a_generation_counts_once_all_replicates_have_it() -> None:
    early, late = tokens([5.0, 5.01], seed=0), tokens([5.01, 5.0, 9.0], seed=1)
    assert verdict(early, late).status == "healthy"
    assert verdict(tokens([5.0, 5.01, 9.0], seed=0), late).status == "collapsed"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_value_that_is_not_finite_is_collapse(value: float | None) -> None:
    found = verdict(tokens([5.0, 5.0, value]), tokens([5.0, 5.1, 5.0], seed=1))
    assert (found.status, found.generation, found.confidence) == ("collapsed", 3, 1.0)
    assert found.reason == "real_test_loss of seed 0 is not finite at generation 3"


def test_divergence_collapses_what_was_measured() -> None:
    replicate = Replicate(4, tokens([5.0, 5.0]).metrics, diverged=3)
    found = profile(ProfileSpec(), Series("tokens", (replicate,)))
    assert (found["catastrophic_risk"].status, found["catastrophic_risk"].generation) == ("collapsed", 3)
    assert found["catastrophic_risk"].reason == "seed 4 diverged at generation 3"
    assert found["lost_tail"].status == "not measured"


def test_divergence_of_generation_1_collapses_all_that_has_a_metric() -> None:
    found = profile(NO_SIGNAL, Series("tokens", (Replicate(0, {}, diverged=1),)))
    assert {kind for kind, verdict in found.items() if verdict.status != "collapsed"} == {"hallucinated_data"}


def test_an_earlier_collapse_keeps_its_generation() -> None:
    replicate = Replicate(0, tokens([5.0, 6.0, 7.0]).metrics, diverged=4)
    assert verdict(replicate).generation == 2


def test_absent_metrics_are_not_measured() -> None:
    found = profile(NO_SIGNAL, Series("tokens", (tokens([5.0, 5.0]),)))
    absent = {kind for kind, verdict in found.items() if verdict.status == "not measured"}
    assert absent == {"collapsing_variance", "changed_scaling_law", "lost_modes", "lost_tail", "hallucinated_data"}
    assert found["lost_tail"].reason == "rare_token_survival has no value at generation 1"
    assert found["hallucinated_data"].reason == "no metric is named for tokens"


def test_nothing_known_yet() -> None:
    assert verdict().status == "not measured"
    assert verdict(Replicate(0, {})).status == "not measured"
    assert verdict(tokens([5.0])).status == "undecided"
    assert verdict(tokens([5.0, 5.0]), Replicate(1, {})).status == "not measured"
    assert verdict(tokens([5.0, 5.0]), Replicate(1, {2: {"real_test_loss": 9.0}})).status == "not measured"


def test_recall_too_low_to_fall_is_not_measured() -> None:
    metrics = {t: {"recall": 0.015, "recall_stderr": 0.001} for t in (1, 2, 3)}
    found = profile(ProfileSpec(), Series("image", (Replicate(0, metrics),)))["lost_modes"]
    assert found.status == "not measured"
    assert "floor" in found.reason


def test_recall_that_falls_to_zero_is_lost_modes() -> None:
    metrics = {t: {"recall": value, "recall_stderr": 0.004} for t, value in enumerate([0.3, 0.1, 0.0], start=1)}
    found = profile(ProfileSpec(), Series("image", (Replicate(0, metrics),)))["lost_modes"]
    assert found.status == "collapsed"


def test_ratios_are_shown_as_ratios() -> None:
    metrics = {t: {"variance_ratio": value, "variance_ratio_stderr": 1e-3} for t, value in ((1, 0.8), (2, 0.2))}
    evidence = profile(ProfileSpec(), Series("vector", (Replicate(0, metrics),)))["collapsing_variance"].evidence[0]
    assert evidence.change == pytest.approx(0.25)
    assert evidence.low is not None
    assert evidence.high is not None
    assert evidence.low < 0.25 < evidence.high
    assert (evidence.tolerance, evidence.threshold) == pytest.approx((0.9, 0.5))


def test_profile_level_control_shares_the_rate() -> None:
    """A verdict without a metric takes no share."""
    shared = NO_SIGNAL.model_copy(update={"controls": "profile"})
    assert shared.rate("tokens") == pytest.approx(0.05 / 7)
    assert shared.rate("image") == pytest.approx(0.05 / 8)
    assert ProfileSpec().rate("image") == 0.05


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(4, 7), min_size=6, max_size=6), min_size=1, max_size=3))
def test_incremental_and_repeatable(losses: list[list[float]]) -> None:
    """What was decided after generation t is what the whole series says of t, and alarms only grow."""
    replicates = [tokens([*row], seed=seed) for seed, row in enumerate(losses)]
    whole = Series("tokens", tuple(replicates))
    before = None
    for t in range(1, 7):
        cut = Series("tokens", tuple(tokens([*row[:t]], seed=seed) for seed, row in enumerate(losses)))
        found = profile(ProfileSpec(), cut)
        assert found == profile(ProfileSpec(), whole.until(t))
        for kind in found if before else ():
            assert before is not None
            order = ["undecided", "healthy", "collapsing", "collapsed"]
            was, now = before[kind], found[kind]
            if was.status in ("collapsing", "collapsed"):
                assert order.index(now.status) >= order.index(was.status)
                assert now.alarm_generation == was.alarm_generation
        before = found


def test_wikitext2_as_its_page_tells_it() -> None:
    """docs/wikitext2.md: perplexity doubles under `replace` alone, which alone loses 4 of 10 rare tokens."""
    results = pd.read_csv(WIKITEXT2)
    found = {
        str(regime): profile(ProfileSpec(), series_of_results(rows, "tokens"))
        for regime, rows in results.groupby("regime")
    }
    risk = {regime: verdicts["catastrophic_risk"].status for regime, verdicts in found.items()}
    assert risk == {"replace": "collapsed", "mix": "healthy", "accumulate": "healthy"}
    tail = {regime: verdicts["lost_tail"].status for regime, verdicts in found.items()}
    assert tail == {"replace": "collapsed", "mix": "collapsing", "accumulate": "collapsing"}
    rise = {regime: verdicts["any_risk_increase"].status for regime, verdicts in found.items()}
    assert rise == {"replace": "collapsed", "mix": "collapsed", "accumulate": "healthy"}


def test_rows_of_two_arms_are_refused() -> None:
    with pytest.raises(InvalidInput, match="replicates of one arm differ in their seeds"):
        series_of_results(pd.read_csv(WIKITEXT2), "tokens")


def test_null_values_and_divergence_of_results() -> None:
    results = pd.read_csv(WIKITEXT2)
    rows = results.loc[results["regime"] == "replace"].astype({"value": pd.Float64Dtype()})
    rows.loc[(rows["metric"] == "real_test_loss") & (rows["generation"] == 4), "value"] = pd.NA
    lineage_of = dict(zip(rows["seed"], rows["lineage"], strict=True))
    series = series_of_results(rows, "tokens", {lineage_of[1]: 5})
    assert [replicate.metrics[4]["real_test_loss"] for replicate in series.replicates] == [None, None]
    assert [(replicate.seed, replicate.diverged) for replicate in series.replicates] == [(0, None), (1, 5)]
