"""The results of a store as one tidy table, built from the indices of its lineages and the records they name."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import pandas as pd
import pyarrow as pa

from collapse_ray.artifact.record import ArtifactEnergy, Kind, Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.lineage.index import FOLDER, id_of, read_indices
from collapse_ray.search.outcome import SweepDocument, read_sweeps

RESULTS = "results.parquet"

SCHEMA = pa.schema(
    [
        ("sweep", pa.string()),
        ("lineage", pa.string()),
        ("regime", pa.string()),
        ("real_fraction", pa.float64()),
        ("realised_real_fraction", pa.float64()),
        ("seed", pa.int64()),
        ("generation", pa.int64()),
        ("stage", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("energy_j", pa.float64()),
        ("duration_s", pa.float64()),
    ]
)
"""The columns and their order: a stable surface."""

STAGES: tuple[tuple[str, str, Kind], ...] = (
    ("train", "model", "model"),
    ("evaluate", "evaluation", "evaluation"),
    ("generate", "samples", "samples"),
)
"""Each stage, where the index names its artifact, and the kind of that artifact."""

# Comparing pyarrow's strings gives booleans that cannot be combined with those of the numbers where one is null.
_NULLABLE = {pa.string(): pd.StringDtype("python"), pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}


def load(store: str | Store) -> pd.DataFrame:
    """The results of all lineages in a store.

    One row for each lineage, generation, stage and metric, with nullable dtypes: what is absent is null. A stage
    without metrics has one row whose metric is null. `duration_s` and `energy_j` are those of the stage and stand on
    each of its rows: to add them up, drop duplicates of (lineage, generation, stage) first. An artifact that lineages
    share cost once and appears in each of them.

    Args:
        store: folder or URI, as given to `run.store`.

    Returns:
        The columns of `SCHEMA`. `lineage` is the spec's name and the first 8 digits of the lineage's fingerprint;
        `real_fraction` is what the regime asked for, `realised_real_fraction` what the training pool held;
        `sweep` is the id of the sweep to which the lineage belongs (of several, the one that ran last), null where
        it belongs to none.

    Raises:
        InvalidInput: the store has no lineages.
        StoreError: it cannot be opened, or a record that an index names is missing.
    """
    store = Store(store) if isinstance(store, str) else store
    table = pa.Table.from_pylist(list(_rows(store)), schema=SCHEMA)
    return table.to_pandas(types_mapper=_NULLABLE.get)


def write_results(store: Store) -> pd.DataFrame:
    """Writes `results.parquet` into the store, and returns what `load` does.

    Raises:
        InvalidInput: the store has no lineages.
        StoreError: a record that an index names is missing.
    """
    results = load(store)
    store.write_document(RESULTS, results.to_parquet(None, index=False))
    return results


def indices(store: Store) -> list[dict[str, Any]]:
    """The indices of all lineages.

    Raises:
        InvalidInput: there is none.
    """
    found = read_indices(store)
    if not found:
        raise InvalidInput(
            f"the store {store} holds no lineages (no {FOLDER}/*.json); "
            "give the folder or URI that was run.store, or run one first: collapse run SPEC run.store=…"
        )
    return found


def sweeps_of_lineages(documents: Sequence[SweepDocument]) -> dict[str, str]:
    """The sweep of each lineage that belongs to one, by their ids; of several, the last document counts."""
    return {
        lineage.lineage: document.id
        for document in documents
        for lineage in document.outcome.lineages
        if lineage.lineage is not None
    }


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    read = cache(partial(_read, store))  # lineages share artifacts
    found, sweeps = indices(store), sweeps_of_lineages(read_sweeps(store))
    for index in found:
        of = id_of(index)
        lineage = {"sweep": sweeps.get(of), "lineage": of, "regime": index["regime"], "seed": index["seed"]}
        for generation in index["generations"]:
            place = {name: generation[name] for name in ("generation", "real_fraction", "realised_real_fraction")}
            for stage, entry, kind in STAGES:
                if generation[entry] is None:
                    continue
                for measured in _measured(*read(kind, generation[entry])):
                    yield {**lineage, **place, "stage": stage, **measured}


def _read(store: Store, kind: Kind, of: str) -> tuple[Record, ArtifactEnergy | None]:
    return store.record(kind, of), store.energy(kind, of)


def _measured(record: Record, energy: ArtifactEnergy | None) -> Iterator[dict[str, Any]]:
    cost = {"energy_j": None if energy is None else energy.energy_j, "duration_s": record.duration_s}
    for metric, value in sorted(record.metrics.items()) or [(None, None)]:
        yield {"metric": metric, "value": value, **cost}
