"""The first samples of every generation of a lineage, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_ray.artifact.store import Store
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import decode_shard, payload_array
from collapse_ray.lineage.preview import PREVIEW

PAD = 1
"""Pixels between samples."""


@dataclass(frozen=True)
class Contact:
    """Samples by generation: `payloads[i]` (N, *shape) are those of `generations[i]`; generation 0 is real."""

    generations: tuple[int, ...]
    payloads: tuple[np.ndarray, ...]


def first_samples(store: Store, index: dict[str, Any], num_samples: int) -> Contact:
    """The first `num_samples` of each generation: real rows, then the samples that its evaluation kept.

    Args:
        store: holds the lineage.
        index: the lineage's document.
        num_samples: rows to take; fewer where there are fewer.
    """
    real = SampleSet.of(store.record("samples", index["train_samples"]))
    shards = {0: store.read("samples", real.fingerprint, real.layout.name(0))}
    for entry in index["generations"]:
        if entry["evaluation"] is not None and _has_preview(store, entry["evaluation"]):
            shards[entry["generation"]] = store.read("evaluation", entry["evaluation"], PREVIEW)
    payloads = (payload_array(decode_shard(content), real.payload)[:num_samples] for content in shards.values())
    return Contact(tuple(shards), tuple(payloads))


def _has_preview(store: Store, evaluation: str) -> bool:
    return any(file.name == PREVIEW for file in store.record("evaluation", evaluation).files)


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
