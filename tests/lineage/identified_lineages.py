"""Lineages, and what lists their identities without running them."""

from collections.abc import Callable
from typing import Any

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record
from collapse_ray.config.load import validate
from collapse_ray.config.payload import Payload
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import shard_layout
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.lineage.naming import Name
from collapse_ray.lineage.spec import LineageSpec

NUM_REAL = 40
PAYLOAD = Payload("vector", (2,))


class Listed:
    """Stands in for the publisher: writes identities down, computes nothing."""

    def __init__(self) -> None:
        self.identities: list[dict[str, Any]] = []

    def record(self, name: Name, body: object) -> Record:
        of = name.identity
        self.identities.append(of)
        realised = samples("", of["num_samples"]).realised() if name.kind == "samples" else {}
        return Record(name.kind, fingerprint(of), of, name.parents, files=(), duration_s=0.0, realised=realised)


def samples(of: str, num_samples: int) -> SampleSet:
    return SampleSet(of, shard_layout(num_samples, 16), PAYLOAD)


Identities = Callable[..., list[dict[str, Any]]]


GAUSSIAN_FIELDS = {
    "source": "normal",
    "family": "gaussian",
    "regime": "replace",
    "depth": 3,
    "evaluate": {"metrics": []},
}


def lineage_of(**fields: Any) -> LineageSpec:
    return validate(LineageSpec, {**GAUSSIAN_FIELDS, **fields}, "test")


GAUSSIAN = lineage_of()
VAE = lineage_of(source="digits", family="vae", regime="accumulate", train={"steps": 5})
ALL_METRICS = lineage_of(evaluate={"metrics": list(MetricSpec.kinds())})
