"""False alarms and delays of the verdicts, on simulated series.

python benchmarks/verdict_delay.py [--lineages 1000] [--depth 60] [--csv FOLDER]

First table: for each verdict of each modality, with the noise that its metric has in real lineages, the share of
healthy arms that are ever called collapsing, and how late collapsing ones are. Second table: the test beneath, under
other kinds of noise, beside a test that is not meant for repeated looks and beside Robbins' normal mixture.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from collapse_ray.config.payload import PayloadKind
from collapse_ray.search.decide import Decisions, decisions
from collapse_ray.search.profile import ProfileSpec
from collapse_ray.search.verdict import Signal, VerdictSpec

RATE = 0.05
CROSSING = 8
"""Generation after which the true value of a collapsing lineage is worse than the threshold."""

NOISE: dict[PayloadKind, dict[str, tuple[float, float]]] = {
    "image": {
        "frechet_distance": (0.6, 0.04),
        "real_test_loss": (23.0, 0.6),
        "variance_ratio": (0.6, 0.015),
        "scaling_exponent": (0.1, 0.005),
        "recall": (0.2, 0.15),
        "coverage": (0.97, 0.012),
        "precision": (0.99, 0.005),
    },
    "tokens": {
        "real_test_loss": (5.36, 0.01),
        "distinct_2": (0.52, 0.015),
        "scaling_exponent": (0.1, 0.005),
        "vocabulary_coverage": (0.97, 0.0075),
        "rare_token_survival": (0.93, 0.021),
    },
    "vector": {
        "real_test_loss": (1.42, 0.03),
        "variance_ratio": (1.0, 0.045),
        "scaling_exponent": (0.1, 0.005),
        "recall": (0.95, 0.02),
        "coverage": (0.95, 0.01),
        "precision": (0.95, 0.01),
    },
}
"""Value at generation 1 and noise of one replicate, on the scale of the verdict (relative for a ratio).

As seen between lineages on digits and WikiText-2, and for 1,000 vectors of a Gaussian; the exponent's is a guess.
"""


def simulate(
    spec: VerdictSpec,
    signal: Signal,
    worsening: np.ndarray,
    noise: np.ndarray,
    first: float,
    stddev: float,
) -> Decisions:
    """What is decided of arms whose true worsening since generation 1 is (T,), under noise (N, S, T).

    A single replicate knows its sampling error, which is then all of the noise; several know nothing but themselves.
    """
    signed = (worsening + stddev * noise) * (1 if signal.worse == "higher" else -1)
    values = first * np.exp(signed) if signal.scale == "ratio" else first + signed
    error = stddev * (values if signal.scale == "ratio" else np.ones_like(values))
    variances = error**2 if noise.shape[1] == 1 else None
    return decisions(spec, signal, np.arange(1, len(worsening) + 1), values, variances)


def paths(spec: VerdictSpec, signal: Signal, depth: int) -> dict[str, np.ndarray]:
    """True worsening (T,) since generation 1: none; as far as the tolerance allows; straight through the threshold."""
    generations = np.arange(1, depth + 1)
    tolerance, threshold = signal.limits
    if spec.kind == "diverging_risk":
        # Growth since half-way is what counts: a logarithm grows by the same from any half-way on.
        edge, slope = tolerance * np.log2(generations), threshold / (CROSSING - CROSSING // 2)
    else:
        edge, slope = np.where(generations > 1, tolerance, 0.0), threshold / (CROSSING - 1)
    return {"none": np.zeros(depth), "edge": edge, "collapse": slope * (generations - 1) * (1 + 1e-9)}


def crossings(spec: VerdictSpec, signal: Signal, worsening: np.ndarray) -> tuple[int, int]:
    """First generations at which the truth is worse than the tolerance, and than the threshold, by all criteria."""
    generations = np.arange(1, len(worsening) + 1)
    found = [(criterion, criterion.weights @ worsening) for criterion in spec.criteria(signal, generations)]
    late = generations >= spec.first_look
    tolerance = late & np.all([truth > criterion.tolerance for criterion, truth in found], axis=0)
    threshold = late & np.all([truth > criterion.threshold for criterion, truth in found], axis=0)
    return int(tolerance.argmax()) + 1, int(threshold.argmax()) + 1


def false_alarms(p_value: np.ndarray) -> float:
    return float((p_value[:, -1] <= RATE).mean())


def delay(p_value: np.ndarray, crossing: int) -> tuple[float, float, float]:
    """Generations from the crossing to the decision: median and 90th percentile; and the share never decided."""
    decided = p_value <= RATE
    late = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1.0 - crossing, np.inf)
    median, most = np.quantile(late, [0.5, 0.9], method="inverted_cdf")
    return median, most, float(np.isinf(late).mean())


def verdict_rows(lineages: int, depth: int, num_replicates: Sequence[int] = (1, 3, 5)) -> pd.DataFrame:
    """One row for each modality, verdict and number of replicates."""
    rows = []
    for payload in NOISE:
        for spec in ProfileSpec().verdicts:
            signal = spec.signal(payload)
            if signal is not None:
                rows += [
                    _verdict_row(payload, spec, signal, replicates, lineages, depth) for replicates in num_replicates
                ]
    return pd.DataFrame(rows)


def _verdict_row(
    payload: PayloadKind, spec: VerdictSpec, signal: Signal, num_replicates: int, lineages: int, depth: int
) -> dict[str, Any]:
    first, stddev = NOISE[payload][signal.metric]
    true = paths(spec, signal, depth)
    rng = np.random.default_rng([list(NOISE).index(payload), spec.definition, num_replicates])
    noise = {name: rng.standard_normal((lineages, num_replicates, depth)) for name in true}
    found = {name: simulate(spec, signal, path, noise[name], first, stddev) for name, path in true.items()}
    tolerance, threshold = crossings(spec, signal, true["collapse"])
    collapsing = delay(found["collapse"].collapsing, tolerance)
    collapsed = delay(found["collapse"].collapsed, threshold)
    return {
        "payload": payload,
        "verdict": spec.kind,
        "metric": signal.metric,
        "num_replicates": num_replicates,
        "num_lineages": lineages,
        "depth": depth,
        "noise_stddev": stddev,
        "false_alarm_fraction": false_alarms(found["none"].collapsing),
        "false_alarm_fraction_at_tolerance": false_alarms(found["edge"].collapsing),
        "healthy_fraction": float((found["none"].healthy[:, -1] <= RATE).mean()),
        "crosses_tolerance": tolerance,
        "collapsing_delay_median": collapsing[0],
        "collapsing_delay_p90": collapsing[1],
        "collapsing_missed_fraction": collapsing[2],
        "crosses_threshold": threshold,
        "collapsed_delay_median": collapsed[0],
        "collapsed_delay_p90": collapsed[1],
        "collapsed_missed_fraction": collapsed[2],
    }


# The test beneath, by itself: lineages whose noise has the standard deviation 1, no tolerance.

Alarms = Callable[[np.ndarray], np.ndarray]
"""Values (N, S, T) -> whether each look alarms (N, T)."""

RISK = next(spec for spec in ProfileSpec().verdicts if spec.kind == "any_risk_increase")
RAW = Signal(metric="noise", worse="higher", scale="difference", tolerance=0.0, threshold=0.0)


def spending(values: np.ndarray) -> np.ndarray:
    """Ours."""
    variances = np.ones_like(values) if values.shape[1] == 1 else None
    return decisions(RISK, RAW, np.arange(1, values.shape[-1] + 1), values, variances).collapsing <= RATE


def fixed_sample_z(values: np.ndarray) -> np.ndarray:
    """Broken: the z test of one look, at every look."""
    mean = values.mean(axis=1)
    stderr = np.sqrt(2 / values.shape[1])
    return (mean - mean[:, :1]) / stderr > norm.isf(RATE)


def normal_mixture(values: np.ndarray) -> np.ndarray:
    """The mean of all later generations against generation 1, noise known: half of the rate for the interval of
    generation 1, half for Robbins' one-sided normal mixture (Howard et al. 2021, section 3.2), tuned to 10 looks."""
    mean = values.mean(axis=1)
    variance, looks = 1 / values.shape[1], np.arange(1, values.shape[-1])
    rho = 10 * variance
    boundary = np.sqrt(2 * (looks * variance + rho) * np.log(np.sqrt((looks * variance + rho) / rho) / RATE + 1))
    later = np.cumsum(mean[:, 1:], axis=-1) / looks
    alarms = later - mean[:, :1] > norm.isf(RATE / 2) * np.sqrt(variance) + boundary / looks
    return np.concatenate([np.zeros((len(mean), 1), bool), alarms], axis=1)


def noises(lineages: int, num_replicates: int, depth: int) -> dict[str, np.ndarray]:
    """Healthy lineages (N, S, T), by kind of noise."""
    rng = np.random.default_rng([num_replicates, depth])
    independent = rng.standard_normal((lineages, num_replicates, depth))
    handed_down = independent.copy()
    for t in range(1, depth):
        handed_down[..., t] = 0.9 * handed_down[..., t - 1] + np.sqrt(1 - 0.9**2) * independent[..., t]
    shared_first = independent.copy()
    shared_first[..., 0] = 0.0
    return {
        "independent": independent,
        "lasting difference of seeds": independent + 2 * rng.standard_normal((lineages, num_replicates, 1)),
        "generation 1 shared by seeds": shared_first,
        "handed down, 0.9 a generation": handed_down,
        "random walk": np.cumsum(independent, axis=-1),
        "heavy tails (Student's t, 5 degrees)": rng.standard_t(5, independent.shape) / np.sqrt(5 / 3),
        "skewed (exponential)": rng.exponential(size=independent.shape) - 1,
    }


def test_rows(lineages: int) -> pd.DataFrame:
    """False alarms by kind of noise, and the delay of straight lines, for each test."""
    tests: dict[str, Alarms] = {
        "spending": spending,
        "fixed-sample z": fixed_sample_z,
        "normal mixture": normal_mixture,
    }
    rows = []
    for num_replicates in (1, 2, 3, 5):
        for depth in (20, 200):
            for noise, values in noises(lineages, num_replicates, depth).items():
                if num_replicates == 1 and noise not in ("independent", "generation 1 shared by seeds"):
                    continue  # its sampling error would not be all of the noise
                known = tests if noise == "independent" else {"spending": spending}
                rows += [
                    {
                        "test": name,
                        "num_replicates": num_replicates,
                        "depth": depth,
                        "series": noise,
                        "false_alarm_fraction": float(test(values).any(axis=1).mean()),
                    }
                    for name, test in known.items()
                ]
        rows += _slope_rows(tests, noises(lineages, num_replicates, 100)["independent"])
    return pd.DataFrame(rows).assign(num_lineages=lineages)


def _slope_rows(tests: dict[str, Alarms], noise: np.ndarray) -> list[dict[str, Any]]:
    """The generation of the alarm where each generation is worse by so much of the noise's standard deviation."""
    rows = []
    for slope in (0.2, 1.0):
        for name, test in tests.items():
            alarms = test(noise + slope * np.arange(noise.shape[-1]))
            generation = np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, np.inf)
            rows.append(
                {
                    "test": name,
                    "num_replicates": noise.shape[1],
                    "depth": noise.shape[-1],
                    "series": f"worse by {slope} a generation",
                    "alarm_generation_median": float(np.median(generation)),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lineages", type=int, default=1000, help="arms simulated for each row")
    parser.add_argument("--depth", type=int, default=60, help="generations of the first table")
    parser.add_argument("--csv", type=Path, help="folder for verdict_delay.csv and verdict_tests.csv")
    arguments = parser.parse_args()
    verdicts, tests = verdict_rows(arguments.lineages, arguments.depth), test_rows(arguments.lineages)
    with pd.option_context("display.width", 250, "display.max_rows", None, "display.max_columns", None):
        print(verdicts.drop(columns=["num_lineages", "depth", "metric"]).to_string(index=False))
        print(tests.drop(columns=["num_lineages"]).to_string(index=False, na_rep="-"))
    alarms = verdicts[["false_alarm_fraction", "false_alarm_fraction_at_tolerance"]].to_numpy()
    bound = binom.isf(0.001 / alarms.size, arguments.lineages, RATE) / arguments.lineages
    print(
        f"largest share of false alarms of a verdict: {alarms.max():.3f} (at most {RATE} wanted; chance alone would "
        f"not take a test of exactly {RATE} above {bound:.3f} in any of {alarms.size} rows)"
    )
    if arguments.csv:
        verdicts.to_csv(arguments.csv / "verdict_delay.csv", index=False, float_format="%.4g")
        tests.to_csv(arguments.csv / "verdict_tests.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
