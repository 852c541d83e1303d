"""The first samples of every generation of a lineage, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import decode_shard, payload_array

PAD = 1
"""Pixels between samples."""


@dataclass(frozen=True)
class Contact:
    """Samples by generation: `payloads[i]` (N, *shape) are those of `generations[i]`; generation 0 is real."""

    generations: tuple[int, ...]
    payloads: tuple[np.ndarray, ...]


def first_samples(store: Store, index: dict[str, Any], num_samples: int) -> Contact:
    """The first `num_samples` of each generation whose samples were published and are still kept.

    Args:
        store: holds the lineage.
        index: the lineage's document.
        num_samples: rows of the first shard to take; fewer where it holds fewer.
    """
    published = {0: index["train_samples"]}
    published |= {entry["generation"]: entry["samples"] for entry in index["generations"] if entry["samples"]}
    records = {generation: store.record("samples", of) for generation, of in published.items()}
    kept = {generation: record for generation, record in records.items() if not record.retired}
    return Contact(tuple(kept), tuple(_first(store, record, num_samples) for record in kept.values()))


def contact_sheet(contact: Contact) -> np.ndarray:
    """One image of all samples, a row for each generation: uint8 (height, width, C), white between samples.

    The payloads are images, uint8 (N, C, H, W) of one shape; a generation of fewer samples leaves its row short.
    """
    num_columns = max(len(payload) for payload in contact.payloads)
    channels, height, width = contact.payloads[0].shape[1:]
    rows = len(contact.payloads)
    sheet = np.full((rows, height + PAD, num_columns, width + PAD, channels), 255, dtype=np.uint8)
    for row, payload in enumerate(contact.payloads):
        sheet[row, :height, : len(payload), :width] = payload.transpose(2, 0, 3, 1)
    return sheet.reshape(rows * (height + PAD), num_columns * (width + PAD), channels)[:-PAD, :-PAD]


def _first(store: Store, record: Record, num_samples: int) -> np.ndarray:
    samples = SampleSet.of(record)
    table = decode_shard(store.read("samples", record.fingerprint, samples.layout.name(0)))
    return payload_array(table, samples.payload)[:num_samples]
