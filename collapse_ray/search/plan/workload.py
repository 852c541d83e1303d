"""How large a stage is, planned or recorded alike, so that one can be compared with the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record
from collapse_ray.config.payload import Payload
from collapse_ray.search.plan.walk import Artifact, PlannedStage


@dataclass(frozen=True)
class Workload:
    """One stage."""

    stage: str
    family: str
    """Kind of the generator; of the source where real data is ingested."""
    settings: str
    """Fingerprint of what decides the cost of a unit; stages that agree in it are comparable as they are."""
    amount: float
    """In the unit of `Work`; samples for the real data."""
    kept: float
    """What its bytes are proportional to: samples, or 1 for a model or an evaluation."""
    scale: float
    """Rows or samples, times tokens of each, times bytes of the weights: for a comparison across settings."""


@dataclass(frozen=True)
class _Facts:
    stage: str
    family: Mapping[str, Any]
    payload: Payload
    num_rows: float
    """Rows trained on, held-out rows and samples, or samples."""
    weight_bytes: float
    world_size: int

    def workload(self, amount: float, kept: float, *settings: Any) -> Workload:
        payload = self.payload
        tokens = payload.size if payload.kind == "tokens" else 1
        of = [self.stage, dict(self.family), payload.to_json(), self.world_size, *settings]
        scale = self.num_rows * tokens * self.weight_bytes
        return Workload(self.stage, str(self.family["kind"]), fingerprint(of), amount, kept, scale)


def planned(stage: PlannedStage, weight_bytes: float, world_size: int) -> Workload:
    """Of a stage that is left to do.

    Args:
        stage: what is left.
        weight_bytes: of a generator; 1 for closed forms, whose size hardly counts.
        world_size: ranks that will do it.
    """
    lineage, amount = stage.lineage, stage.amount
    payload, num_holdout = stage.prepared.payload, stage.prepared.holdout.num_samples
    if stage.stage == "ingest":
        return _ingest(lineage.source.identity(), payload, amount)
    family, train, generate = lineage.family.identity(), lineage.train, lineage.generate.identity()
    if stage.stage == "train":
        rows = amount * train.batch_size if train else amount
        facts = _Facts("train", family, payload, rows, weight_bytes, world_size)
        return facts.workload(amount, 1, train and train.identity())
    if stage.stage == "generate":
        return _Facts("generate", family, payload, amount, weight_bytes, world_size).workload(amount, amount, generate)
    rows = num_holdout + lineage.evaluate.num_samples
    facts = _Facts("evaluate", family, payload, rows, weight_bytes, world_size)
    return facts.workload(amount, 1, generate, lineage.evaluate.identity(), num_holdout)


def recorded(record: Record, records: Mapping[Artifact, Record]) -> Workload | None:
    """Of a stage that was done; None where the record of what it was made from is missing.

    Args:
        record: of the stage.
        records: all of the store.
    """
    of, realised = record.identity, record.realised
    if of["stage"] == "ingest":
        return _ingest(of["source"], Payload.from_json(realised["payload"]), realised["num_samples"])
    if of["stage"] == "train":
        real = next((records.get(("samples", each)) for each in record.parents.values()), None)
        return None if real is None else _trained(record, Payload.from_json(real.realised["payload"]))
    model = records.get(("model", record.parents["model"]))
    if model is None:
        return None
    weight_bytes, world_size, family = _weight_bytes(model), realised["world_size"], model.identity["family"]
    if of["stage"] == "generate":
        payload, num_samples = Payload.from_json(realised["payload"]), realised["num_samples"]
        facts = _Facts("generate", family, payload, num_samples, weight_bytes, world_size)
        return facts.workload(num_samples, num_samples, of["generate"])
    holdout = records.get(("samples", of["holdout"]))
    if holdout is None:
        return None
    num_holdout = realised["num_holdout"]
    rows = num_holdout + of["evaluate"]["num_samples"]
    payload = Payload.from_json(holdout.realised["payload"])
    facts = _Facts("evaluate", family, payload, rows, weight_bytes, world_size)
    return facts.workload(1, 1, of["generate"], of["evaluate"], num_holdout)


def _trained(record: Record, payload: Payload) -> Workload:
    train, realised = record.identity["train"], record.realised
    amount = realised["num_rows"] if train is None else realised["steps"]
    rows = amount if train is None else amount * train["batch_size"]
    facts = _Facts("train", record.identity["family"], payload, rows, _weight_bytes(record), realised["world_size"])
    return facts.workload(amount, 1, train)


def _ingest(source: Mapping[str, Any], payload: Payload, num_samples: float) -> Workload:
    return _Facts("ingest", source, payload, num_samples * payload.size, 1, 1).workload(num_samples, num_samples)


def _weight_bytes(model: Record) -> float:
    """0 where it diverged, which leaves no weights."""
    if model.identity["train"] is None:
        return 1
    return sum(entry.num_bytes for entry in model.files)
