"""Generation 0: open the real data, check that the lineage can run on it, and publish it as samples.

Done once in the driver: opened and checked before anything is started, published before any worker or GPU is held.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.noise import generator
from collapse_ray.config.payload import Payload
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import encode_shard, shard_layout
from collapse_ray.data.source import RealData, Rows
from collapse_ray.energy.marks import Marker, Work
from collapse_ray.evaluate.summaries import Evaluation
from collapse_ray.lineage.naming import Name, ingested
from collapse_ray.lineage.spec import LineageSpec

INGEST_BLOCK = 256


@dataclass(frozen=True)
class Prepared:
    """The real data of a lineage as published samples."""

    train: SampleSet
    holdout: SampleSet

    @property
    def payload(self) -> Payload:
        return self.train.payload


@dataclass(frozen=True)
class Opened:
    """The real data of a lineage, found and checked; its rows are read when they are published."""

    data: RealData
    train_ids: np.ndarray
    holdout_ids: np.ndarray


def open_real(lineage: LineageSpec, data: RealData | None = None) -> Opened:
    """Opens the real data, and checks that the lineage can run on it.

    Args:
        lineage: the lineage.
        data: its source, where it was opened already for another lineage of the same source and seed.

    Raises:
        InvalidInput: the data, the family, the metrics, the regime and the training budget do not fit together.
    """
    data = lineage.source.open(lineage.seed) if data is None else data
    train_ids, holdout_ids = _split(data, lineage.holdout_fraction)
    _check(lineage, data.payload, len(train_ids))
    return Opened(data, train_ids, holdout_ids)


def name_real(lineage: LineageSpec, opened: Opened) -> Prepared:
    """The real data as it is found under, whether or not it was published; reads no row."""
    return Prepared(*(_samples(_name(lineage, opened, part), opened, part) for part in ("train", "holdout")))


def publish_real(lineage: LineageSpec, opened: Opened, store: Store, marker: Marker) -> Prepared:
    """Publishes the real data, or finds it published."""
    train, holdout = (_publish(lineage, opened, part, store, marker) for part in ("train", "holdout"))
    return Prepared(train, holdout)


def _split(data: RealData, holdout_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sample ids of the two parts: the source's own split, else a draw that no seed changes."""
    if data.holdout is not None:
        return np.arange(len(data.rows)), np.arange(len(data.holdout))
    num_rows = len(data.rows)
    num_holdout = round(holdout_fraction * num_rows)
    if not 0 < num_holdout < num_rows:
        raise InvalidInput(
            f"the source has {num_rows} rows, of which holdout_fraction={holdout_fraction} holds out {num_holdout}; "
            "both parts need at least one row: give more data or another fraction"
        )
    shuffled = generator("holdout").permutation(num_rows)
    return np.sort(shuffled[num_holdout:]), np.sort(shuffled[:num_holdout])


def _check(lineage: LineageSpec, payload: Payload, num_real: int) -> None:
    lineage.family.check(payload, lineage.generate.sampling)
    Evaluation.empty(lineage.evaluate, payload)
    lineage.regime.check(num_real=num_real, depth=lineage.depth)
    if lineage.train is None:
        return
    tokens = payload.size if payload.kind == "tokens" else None
    for generation in (1, lineage.depth):
        plan = lineage.regime.plan(seed=lineage.seed, generation=generation, num_real=num_real)
        try:
            lineage.train.num_steps(plan.num_rows, tokens)
        except ValueError as error:
            raise InvalidInput(f"train: generation {generation}: {error}") from error


def _publish(lineage: LineageSpec, opened: Opened, part: str, store: Store, marker: Marker) -> SampleSet:
    name = _name(lineage, opened, part)
    found = store.find("samples", name.fingerprint)
    if found is not None:
        return SampleSet.of(found)
    with marker.working(Work("stage", generation=0, stage="ingest", artifact=name.fingerprint)):
        return _ingest(opened, part, name, store)


def _name(lineage: LineageSpec, opened: Opened, part: str) -> Name:
    return ingested(lineage, opened.data.content, part=part)


def _ids(opened: Opened, part: str) -> np.ndarray:
    return opened.train_ids if part == "train" else opened.holdout_ids


def _samples(name: Name, opened: Opened, part: str) -> SampleSet:
    return SampleSet(name.fingerprint, shard_layout(len(_ids(opened, part)), INGEST_BLOCK), opened.data.payload)


def _ingest(opened: Opened, part: str, name: Name, store: Store) -> SampleSet:
    data, sample_ids = opened.data, _ids(opened, part)
    rows = data.rows if part == "train" or data.holdout is None else data.holdout
    begin = time.monotonic()
    samples = _samples(name, opened, part)
    key, layout = samples.fingerprint, samples.layout
    attempt = store.begin("samples", key)
    with store.removing(attempt):
        files = [store.write(attempt, name, content) for name, content in sorted(data.files.items())]
        read = _reader(rows)
        for shard in range(layout.num_shards):
            start, stop = layout.bounds(shard)
            ids = sample_ids[start:stop]
            content = encode_shard(data.payload, ids, "real", 0, key, read(ids))
            files.append(store.write(attempt, layout.name(shard), content))
    record = Record(
        kind="samples",
        fingerprint=key,
        identity=name.identity,
        parents={},
        files=tuple(files),
        duration_s=time.monotonic() - begin,
        realised=samples.realised(),
    )
    return SampleSet.of(store.publish(attempt, record))


def _reader(rows: Rows) -> Callable[[np.ndarray], np.ndarray]:
    """Reads ascending ids through one contiguous read around them: a split leaves few holes."""

    def read(ids: np.ndarray) -> np.ndarray:
        first = int(ids[0])
        return rows.read(first, int(ids[-1]) + 1)[ids - first]

    return read
