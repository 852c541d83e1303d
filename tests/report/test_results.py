import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load as load_tensors
from scipy.stats import multivariate_normal

import collapse_ray
from collapse_ray.artifact.record import ArtifactEnergy
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.lineage.index import read_indices
from collapse_ray.report.results import load, write_results

COLUMNS = [
    "sweep",
    "lineage",
    "regime",
    "real_fraction",
    "realised_real_fraction",
    "seed",
    "generation",
    "stage",
    "metric",
    "value",
    "energy_j",
    "duration_s",
]


def test_columns_and_dtypes_are_frozen(gaussian_store: Store) -> None:
    results = collapse_ray.load(gaussian_store.uri)
    assert list(results.columns) == COLUMNS
    numbers = {"seed": "Int64", "generation": "Int64"}
    numbers |= dict.fromkeys(["real_fraction", "realised_real_fraction", "value", "energy_j", "duration_s"], "Float64")
    assert {name: str(dtype) for name, dtype in results.dtypes.items()} == {
        name: numbers.get(name, "string") for name in COLUMNS
    }


def test_one_row_for_each_lineage_generation_stage_and_metric(gaussian_store: Store) -> None:
    results = load(gaussian_store)
    assert not results.duplicated(["lineage", "generation", "stage", "metric"]).any()
    stages = results.drop_duplicates(["lineage", "generation", "stage"])
    # The last generation is never sampled.
    assert stages.groupby("stage").size().to_dict() == {"train": 12, "evaluate": 12, "generate": 8}
    assert set(results.loc[results["stage"] == "train", "metric"]) == {"train_loss"}
    assert set(results.loc[results["stage"] == "generate", "metric"]) == {pd.NA}
    assert pd.NA not in set(results["duration_s"])


def test_asked_and_realised_fractions(gaussian_store: Store) -> None:
    results = load(gaussian_store).drop_duplicates(["lineage", "generation"])
    half = results.loc[results["regime"] == "mix"]
    assert half.groupby("generation")["realised_real_fraction"].unique().map(list).to_dict() == {
        1: [1.0],
        2: [0.5],
        3: [0.5],
    }
    assert set(half.loc[half["generation"] > 1, "real_fraction"]) == {0.5}
    replace = results.loc[results["regime"] == "replace"]
    assert set(replace["real_fraction"]) == {pd.NA}
    assert replace["realised_real_fraction"].tolist() == [1.0, 0.0, 0.0]


def test_values_are_those_of_the_models_on_the_held_out_rows(gaussian_store: Store) -> None:
    """Against scipy's density of the published weights, on rows read without this package."""
    results = load(gaussian_store)
    for index in read_indices(gaussian_store):
        lineage = f"{index['name']}-{index['fingerprint'][:8]}"
        shard = gaussian_store.read("samples", index["holdout_samples"], "shard-00000.parquet")
        rows = np.stack(pq.read_table(io.BytesIO(shard)).column("payload").to_pylist())
        for entry in index["generations"]:
            weights = load_tensors(gaussian_store.read("model", entry["model"], "model.safetensors"))
            covariance: Any = weights["covariance"]  # scipy declares an integer and takes a matrix
            truth = -multivariate_normal.logpdf(rows, weights["mean"], covariance).mean()
            row = results[
                results["lineage"].eq(lineage)
                & results["generation"].eq(entry["generation"])
                & results["metric"].eq("real_test_loss")
            ]
            assert row["value"].item() == pytest.approx(truth, rel=1e-12)


def test_absent_is_null_not_nan_and_energy_is_the_stages(write_store: Callable) -> None:
    written = write_store(Payload("vector", (1,)))
    real = written.samples(np.zeros((3, 1)), content={})
    model = written.artifact("model", {"m": 1}, metrics={"train_loss": None})
    written.store.write_energy("model", model, ArtifactEnergy(3.5, "counter"))
    evaluation = written.artifact("evaluation", {"e": 1}, metrics={"b": 2.0, "a": None})
    entry = {"generation": 1, "model": model, "evaluation": evaluation, "samples": None}
    written.index("x", real, [{**entry, "real_fraction": None, "realised_real_fraction": 1.0}])
    results = load(written.store)
    assert results["stage"].tolist() == ["train", "evaluate", "evaluate"]
    assert results["metric"].tolist() == ["train_loss", "a", "b"]
    assert results["value"].tolist() == [pd.NA, pd.NA, 2.0]
    assert results["energy_j"].tolist() == [3.5, pd.NA, pd.NA]
    assert set(results["sweep"]) == {pd.NA}


def test_written_results_read_back_equal(gaussian_store: Store) -> None:
    results = write_results(gaussian_store)
    path = Path(gaussian_store.uri) / "results.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path).astype(results.dtypes), results)
    assert pq.read_schema(path).names == COLUMNS


@pytest.mark.slow
def test_rows_are_chosen_by_columns_of_any_type(gaussian_store: Store) -> None:
    """Comparisons give one kind of nullable boolean, whatever the column: others do not combine where one is null."""
    results = load(gaussian_store)
    chosen = results[
        results["generation"].eq(3) & results["metric"].eq("recall") & results["lineage"].str.startswith("h")
    ]
    assert len(chosen) == 3


def test_no_lineages_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere holds no lineages.*collapse run SPEC"):
        load(str(tmp_path / "nowhere"))
