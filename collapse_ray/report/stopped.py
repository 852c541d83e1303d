"""`stopped.parquet`: what each lineage that was stopped early cost, and what it would have cost to its depth."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.index import id_of, read_indices
from collapse_ray.search.accounting import Index, StoppedLineage, sweep_cost
from collapse_ray.search.outcome import SweepDocument, read_sweeps

STOPPED = "stopped.parquet"

COLUMNS: dict[str, Any] = {
    "sweep": pd.StringDtype("python"),
    "lineage": pd.StringDtype("python"),
    "generation": pd.Int64Dtype(),
    "depth": pd.Int64Dtype(),
    "spent_j": pd.Float64Dtype(),
    "to_depth_j": pd.Float64Dtype(),
    "saved_j": pd.Float64Dtype(),
    "spent_s": pd.Float64Dtype(),
    "to_depth_s": pd.Float64Dtype(),
    "saved_s": pd.Float64Dtype(),
    "num_unmeasured": pd.Int64Dtype(),
}


def stopped_frame(store: Store, documents: Sequence[SweepDocument]) -> pd.DataFrame:
    """One row for each lineage that a sweep ended before its depth; see `StoppedLineage`.

    Returns:
        `spent_*` of its artifacts, shared ones included; `saved_*` estimated from its own stages; `to_depth_*` their
        sum. Null where they are not known; `num_unmeasured` artifacts have no joules.
    """
    ended = [document for document in documents if document.outcome.stopped]
    by_id = {id_of(index): index for index in read_indices(store)} if ended else {}
    rows = [row for document in ended for row in _rows(store, document, by_id)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def write_stopped(store: Store) -> pd.DataFrame:
    """Writes `stopped.parquet` of all sweeps into the store."""
    frame = stopped_frame(store, read_sweeps(store))
    store.write_document(STOPPED, frame.to_parquet(None, index=False))
    return frame


def saved_note(store: Store) -> str | None:
    """What early stops saved in all sweeps of a store, in a sentence; None where there were none."""
    frame = stopped_frame(store, read_sweeps(store)).drop_duplicates("lineage")
    if frame.empty:
        return None
    known = frame["saved_j"].dropna()
    stopped = "1 lineage was" if len(frame) == 1 else f"{len(frame)} lineages were"
    of_them = "" if len(known) == len(frame) else f" for {len(known)} of them"
    saved_j = known.to_numpy(dtype=float).sum()
    more = f"{saved_j:.4g} J more{of_them} (estimated)"
    return f"not spent: {stopped} stopped early; to the depth it would have taken {more}."


def _rows(store: Store, document: SweepDocument, by_id: Mapping[str, Index]) -> Iterator[dict[str, Any]]:
    ids, depth = document.outcome.stopped, document.asked.depth
    indices = [index for of, index in by_id.items() if of in ids]
    for stopped in sweep_cost(store, indices, ids, depth).stopped:
        yield {"sweep": document.id, "depth": depth, **_row(stopped)}


def _row(stopped: StoppedLineage) -> dict[str, Any]:
    return {
        "lineage": stopped.lineage,
        "generation": stopped.generation,
        "spent_j": stopped.spent.energy_j,
        "to_depth_j": stopped.to_depth.energy_j,
        "saved_j": stopped.saved.energy_j,
        "spent_s": stopped.spent.duration_s,
        "to_depth_s": stopped.to_depth.duration_s,
        "saved_s": stopped.saved.duration_s,
        "num_unmeasured": stopped.num_unmeasured,
    }
