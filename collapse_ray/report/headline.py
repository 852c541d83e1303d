"""Which of the measured quantities a table or a figure shows, under which title, and how seeds are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95

REAL_FRACTION = "realised_real_fraction"


@dataclass(frozen=True)
class Headline:
    """A metric as a reader sees it; `limits` are those of its axis, None where the data decides."""

    metric: str
    title: str
    unit: str
    limits: tuple[float | None, float | None] = (None, None)


SHARE = (-0.03, 1.03)
"""All of the unit interval, with room for a marker at its ends."""


HEADLINES = (
    Headline("real_test_loss", "real-test loss", "nats"),
    Headline("perplexity", "perplexity", "on real test data"),
    Headline("variance_ratio", "variance ratio", "synthetic / real", (0, None)),
    Headline("frechet_distance", "Fréchet distance", "squared", (0, None)),
    Headline("precision", "precision", "share of samples", SHARE),
    Headline("recall", "recall", "share of real rows", SHARE),
    Headline("rare_token_survival", "rare-token survival", "share of types", SHARE),
    Headline("vocabulary_coverage", "vocabulary coverage", "share of types", SHARE),
    Headline("distinct_2", "distinct 2-grams", "share of 2-grams", SHARE),
)
"""What shows collapse first: risk, spread, tail and diversity."""


@dataclass(frozen=True)
class Mean:
    """The mean over `num` seeds and the half-width of its 95 % Student t interval; None where it is not defined."""

    num: int
    value: float | None
    half_width: float | None


def headlines(results: pd.DataFrame, at_most: int) -> list[Headline]:
    """The first of `HEADLINES` that were measured; other metrics follow in alphabetical order where these are few."""
    measured = set(results.loc[results["stage"].eq("evaluate") & results["value"].notna(), "metric"])
    known = [headline for headline in HEADLINES if headline.metric in measured]
    errors = {name for name in measured if name.endswith("_stderr")}
    others = sorted(measured - errors - {headline.metric for headline in HEADLINES})
    return [*known, *(Headline(name, name.replace("_", " "), "") for name in others)][:at_most]


def per_lineage(results: pd.DataFrame, lineages: Sequence[str], quantity: str) -> pd.DataFrame:
    """Values of a metric, or of `realised_real_fraction`: a row for each generation, a column for each lineage."""
    chosen = results.loc[results["lineage"].isin(lineages)]
    if quantity == REAL_FRACTION:
        chosen = chosen.drop_duplicates(subset=["lineage", "generation"])
        return chosen.pivot(index="generation", columns="lineage", values=quantity)
    return chosen.loc[chosen["metric"].eq(quantity)].pivot(index="generation", columns="lineage", values="value")


def over_seeds(values: pd.DataFrame) -> dict[int, Mean]:
    """By generation, the mean over the columns of each row."""
    generations = values.index.to_numpy(dtype=int).tolist()
    rows = values.to_numpy(dtype=float, na_value=np.nan)
    return {t: _mean(row[~np.isnan(row)]) for t, row in zip(generations, rows, strict=True)}


def _mean(values: np.ndarray) -> Mean:
    num = len(values)
    value = float(values.mean()) if num else None
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, num - 1) * stats.sem(values)) if num > 1 else None
    return Mean(num, value, half_width)
