"""The index of a lineage: which artifacts it is made of. Everything in it can be derived again from the records."""

import json
from typing import Any

from collapse_ray.artifact.fingerprint import drift, fingerprint
from collapse_ray.artifact.record import SCHEMA_VERSION
from collapse_ray.artifact.store import Store, document_json
from collapse_ray.lineage.loop import Progress
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.spec import LineageSpec

FOLDER = "lineages"


def write_index(store: Store, name: str, lineage: LineageSpec, prepared: Prepared, progress: Progress) -> None:
    """Writes `lineages/<name>-<fingerprint>.json`, unless a deeper run of the same lineage wrote more."""
    path = _path(name, lineage, prepared)
    content = index_of(name, lineage, prepared, progress)
    existing = store.read_document(path)
    if existing is not None and len(json.loads(existing)["generations"]) > len(content["generations"]):
        return
    store.write_document(path, document_json(content))


def mark_stopped(store: Store, name: str, lineage: LineageSpec, prepared: Prepared, reason: str | None) -> None:
    """Says in the index of a lineage that something other than itself ended it after its latest generation."""
    path = _path(name, lineage, prepared)
    content = store.read_document(path)
    if content is not None:
        store.write_document(path, document_json({**json.loads(content), "verdict": "stopped", "stopped_by": reason}))


def _path(name: str, lineage: LineageSpec, prepared: Prepared) -> str:
    return f"{FOLDER}/{name}-{lineage_fingerprint(lineage, prepared)}.json"


def index_of(name: str, lineage: LineageSpec, prepared: Prepared, progress: Progress) -> dict[str, Any]:
    """The document: identity, fingerprints of each generation's stages, verdict."""
    generations = []
    for number, (model, plan) in enumerate(zip(progress.models, progress.plans, strict=True), start=1):
        evaluated = number <= len(progress.evaluations)
        samples = progress.samples.get(number)
        generations.append(
            {
                "generation": number,
                "model": model.fingerprint,
                "evaluation": progress.evaluations[number - 1].fingerprint if evaluated else None,
                "samples": None if samples is None else samples.fingerprint,
                "real_fraction": plan.asked_real_fraction,
                "realised_real_fraction": plan.realised_real_fraction,
            }
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "fingerprint": lineage_fingerprint(lineage, prepared),
        "identity": lineage.identity(),
        "regime": lineage.regime.kind,
        "seed": lineage.seed,
        "depth": lineage.depth,
        "verdict": progress.verdict,
        "stopped_by": progress.stopped_by,
        "train_samples": prepared.train.fingerprint,
        "holdout_samples": prepared.holdout.fingerprint,
        "generations": generations,
    }


def lineage_fingerprint(lineage: LineageSpec, prepared: Prepared) -> str:
    """Identity of the whole lineage: its spec on exactly this real data."""
    return fingerprint({"lineage": lineage.identity(), "train_samples": prepared.train.fingerprint})


def lineage_id(name: str, of: str) -> str:
    """What results and the ledger call the lineage with this fingerprint."""
    return f"{name}-{of[:8]}"


def id_of(index: dict[str, Any]) -> str:
    """The same, of an index."""
    return lineage_id(index["name"], index["fingerprint"])


def read_indices(store: Store) -> list[dict[str, Any]]:
    """All indices of a store, in the order of their names."""
    contents = [store.read_document(path) for path in store.list_documents(FOLDER) if path.endswith(".json")]
    return [json.loads(content) for content in contents if content is not None]


def drift_from_stored(store: Store, name: str, lineage: LineageSpec) -> list[str]:
    """How this spec differs, field by field, from the nearest stored lineage of the same name and seed.

    Empty where the store has none, or has exactly this one.
    """
    new = lineage.identity()
    stored = [index for index in read_indices(store) if index["name"] == name and index["seed"] == lineage.seed]
    return min((drift(index["identity"], new) for index in stored), key=len, default=[])
