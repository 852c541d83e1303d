"""A published set of samples: where its rows lie and what they are."""

from dataclasses import dataclass
from typing import Any, Self

from collapse_ray.artifact.record import Record
from collapse_ray.config.payload import Payload
from collapse_ray.data.shards import ShardLayout


@dataclass(frozen=True)
class SampleSet:
    """Samples of one generation; generation 0 is real."""

    fingerprint: str
    layout: ShardLayout
    payload: Payload

    @property
    def num_samples(self) -> int:
        return self.layout.num_samples

    def realised(self) -> dict[str, Any]:
        """What the record keeps, so that `of` finds it again."""
        return {
            "num_samples": self.layout.num_samples,
            "rows_per_shard": self.layout.rows_per_shard,
            "payload": self.payload.to_json(),
        }

    @classmethod
    def of(cls, record: Record) -> Self:
        realised = record.realised
        layout = ShardLayout(realised["num_samples"], realised["rows_per_shard"])
        return cls(record.fingerprint, layout, Payload.from_json(realised["payload"]))
