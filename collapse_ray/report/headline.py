"""Which of the measured quantities a table or a figure shows, under which title, and how seeds are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

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


def headlines(results: pd.DataFrame, at_most: int) -> list[Headline]:
    """The first of `HEADLINES` that were measured; other metrics follow in alphabetical order where these are few."""
    measured = set(results.loc[results["stage"].eq("evaluate") & results["value"].notna(), "metric"])
    known = [headline for headline in HEADLINES if headline.metric in measured]
    names = {headline.metric for headline in HEADLINES}
    stderrs = {name for name in measured if name.endswith("_stderr")}
    others = [Headline(name, name.replace("_", " "), "") for name in sorted(measured - names - stderrs)]
    return [*known, *others][:at_most]


def per_lineage(results: pd.DataFrame, lineages: Sequence[str], quantity: str) -> pd.DataFrame:
    """Values of a metric, or of `realised_real_fraction`: a row for each generation, a column for each lineage."""
    chosen = results[results["lineage"].isin(lineages)]
    if quantity == REAL_FRACTION:
        column, chosen = quantity, chosen.drop_duplicates(["lineage", "generation"])
    else:
        column, chosen = "value", chosen[chosen["metric"].eq(quantity)]
    return chosen.pivot(index="generation", columns="lineage", values=column).astype("Float64")


def over_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Mean over the columns of each row, and the half-width of its 95 % Student t interval.

    Returns:
        Columns `num` (values that are not null), `mean`, `half_width` (null for fewer than two values).
    """
    num = values.count(axis=1)
    spread = values.std(axis=1, ddof=1) / num.pow(0.5)
    quantile = pd.Series(stats.t.ppf((1 + CONFIDENCE) / 2, (num - 1).clip(lower=1)), index=values.index)
    half_width = (spread * quantile).where(num >= 2)
    return pd.DataFrame({"num": num, "mean": values.mean(axis=1), "half_width": half_width})
