import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.report.arms import by_source, read_arms
from collapse_ray.report.headline import Mean, headlines, over_seeds
from collapse_ray.report.results import load
from collapse_ray.report.table import interval_text, lineage_table


def rendered(store: Store, names: list[str] | None = None, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(lineage_table(load(store), read_arms(store, names)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_interval_over_seeds() -> None:
    values = pd.DataFrame({"a": [1.0, 5.0, None], "b": [2.0, None, None], "c": [3.0, None, None]}, dtype="Float64")
    # t_{0.975} with 2 degrees of freedom is 4.302653 (any table); the standard deviation of 1, 2, 3 is 1.
    first, *others = over_seeds(values).values()
    assert (first.num, first.value) == (3, 2.0)
    assert first.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert others == [Mean(1, 5.0, None), Mean(0, None, None)]


@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [
        (3.1878, 0.026, "3.19±0.03"),
        (0.9464, 0.0049, "0.946±0.005"),
        (1234.6, 25.2, "1235±25"),
        (-3.187654, None, "-3.188"),
        (1.0, 0.0, "1"),
    ],
)
def test_interval_text(mean: float, half_width: float | None, text: str) -> None:
    assert interval_text(mean, half_width) == text


def test_arms_hold_the_lineages_that_differ_in_their_seed(gaussian_store: Store) -> None:
    half, replace = read_arms(gaussian_store)
    assert (half.label, [index["seed"] for index in half.indices]) == ("half", [0, 1, 2])
    assert (replace.label, replace.family, replace.payload) == ("replace", "gaussian", Payload("vector", (2,)))
    assert by_source([half, replace]) == [[half, replace]]


def test_lineages_of_one_name_and_two_specs_are_not_averaged(write_store: Callable) -> None:
    written = write_store(Payload("vector", (1,)))
    real = written.samples(np.zeros((3, 1)), content={})
    edited = written.samples(np.ones((3, 1)), content={"sha256": "other"})
    for identity in ({}, {"train": {"epochs": 3}}):
        written.index("x", real, [], identity=identity)
    written.index("x", edited, [])
    arms = read_arms(written.store)
    assert [len(arm.indices) for arm in arms] == [1, 1, 1]
    assert [arm.label for arm in arms] == sorted(f"x-{arm.indices[0]['fingerprint'][:8]}" for arm in arms)


def test_table_fits_80_columns_and_shows_means(gaussian_store: Store) -> None:
    text = rendered(gaussian_store)
    assert "half  mix · gaussian on normal · 3 seeds · complete" in text
    assert "replace  replace · gaussian on normal · seed 0 · complete" in text
    assert "…" not in text
    results = load(gaussian_store)
    chosen = results.loc[results["lineage"].str.startswith("replace") & results["metric"].eq("recall")]
    row = next(line for line in text.partition("replace  ")[2].splitlines() if line.startswith("  3 "))
    assert f"{chosen.loc[chosen['generation'].eq(3), 'value'].item():.4g}" in row.split()


def test_only_the_named_lineages(gaussian_store: Store) -> None:
    assert "half" not in rendered(gaussian_store, ["replace"])
    with pytest.raises(InvalidInput, match="did you mean 'replace'"):
        read_arms(gaussian_store, ["replce"])


def test_a_diverged_lineage_is_marked(write_store: Callable) -> None:
    written = write_store(Payload("vector", (1,)))
    real = written.samples(np.zeros((3, 1)), content={})
    model = written.artifact("model", {"m": 1}, metrics={"train_loss": 1.0})
    broken = written.artifact("model", {"m": 2}, metrics={"train_loss": None}, outcome="diverged")
    evaluation = written.artifact("evaluation", {"e": 1}, metrics={"real_test_loss": 2.5})
    common = {"samples": None, "real_fraction": None, "realised_real_fraction": 1.0}
    first = {**common, "generation": 1, "model": model, "evaluation": evaluation}
    second = {**common, "generation": 2, "model": broken, "evaluation": None}
    written.index("x", real, [first, second], verdict="diverged")
    lines = rendered(written.store).splitlines()
    assert lines[0].rstrip().endswith("seed 0 · diverged")
    assert lines[-2].split() == ["1", "1", "2.5", "3.0"]
    assert lines[-1].split() == ["2", "1", "diverged", "1.5"]


def test_headlines_come_first_and_leave_out_what_was_never_measured() -> None:
    results = pd.DataFrame(
        {
            "stage": ["evaluate"] * 4,
            "metric": ["zeta", "recall", "real_test_loss", "perplexity"],
            "value": pd.array([1.0, 0.5, 2.0, None], dtype="Float64"),
        }
    )
    assert [headline.metric for headline in headlines(results, 5)] == ["real_test_loss", "recall", "zeta"]
    assert [headline.metric for headline in headlines(results, 1)] == ["real_test_loss"]
