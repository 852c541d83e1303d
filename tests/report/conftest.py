"""Small stores to report on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Kind, Record
from collapse_ray.artifact.store import Store, document_json
from collapse_ray.config.payload import Payload
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import encode_shard, shard_layout
from collapse_ray.data.source import SourceSpec
from collapse_ray.lineage.launch import check_all, run_plain
from collapse_ray.lineage.spec import Experiment, LineageSpec
from collapse_ray.model.family import FamilySpec
from collapse_ray.train.execution import RunConfig

Index = dict[str, Any]


def gaussian(regime: dict[str, Any], seed: int, **fields: Any) -> LineageSpec:
    return LineageSpec(
        source=SourceSpec.resolve({"kind": "normal", "num_samples": 50, "dimension": 2}),
        family=FamilySpec.resolve("gaussian"),
        regime=RegimeSpec.resolve(regime),
        seed=seed,
        **{"depth": 3, **fields},
    )


@pytest.fixture(scope="session")
def gaussian_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """`half`: three seeds of `mix`; `replace`: one lineage. Real runs of three generations."""
    run = RunConfig(store=str(tmp_path_factory.mktemp("gaussian")))
    store = Store(run.store)
    half = tuple(gaussian({"kind": "mix", "real_fraction": 0.5}, seed) for seed in range(3))
    alone = (gaussian({"kind": "replace"}, 0),)
    run_plain(check_all([Experiment("half", half, run), Experiment("replace", alone, run)], store), run)
    return store


class Written:
    """A store whose lineages were written down by hand."""

    def __init__(self, store: Store, payload: Payload) -> None:
        self.store = store
        self.payload = payload

    def artifact(self, kind: Kind, identity: dict[str, Any], **fields: Any) -> str:
        of = fingerprint(identity)
        record = Record(
            kind=kind, fingerprint=of, identity=identity, parents={}, **{"files": (), "duration_s": 1.5, **fields}
        )
        self.store.publish(self.store.begin(kind, of), record)
        return of

    def evaluation(self, preview: np.ndarray, identity: dict[str, Any], **fields: Any) -> str:
        of = fingerprint(identity)
        attempt = self.store.begin("evaluation", of)
        content = encode_shard(self.payload, np.arange(len(preview)), "synthetic", 1, "test", preview)
        entry = self.store.write(attempt, "preview.parquet", content)
        self.store.publish(attempt, Record("evaluation", of, identity, {}, (entry,), 1.5, **fields))
        return of

    def samples(self, array: np.ndarray, **identity: Any) -> str:
        of = fingerprint(identity)
        samples = SampleSet(of, shard_layout(len(array), 256), self.payload)
        attempt = self.store.begin("samples", of)
        content = encode_shard(self.payload, np.arange(len(array)), "real", 0, "test", array)
        entry = self.store.write(attempt, samples.layout.name(0), content)
        record = Record("samples", of, identity, {}, (entry,), 1.5, realised=samples.realised())
        self.store.publish(attempt, record)
        return of

    def index(self, name: str, real: str, generations: list[dict[str, Any]], **fields: Any) -> Index:
        seed, identity = fields.pop("seed", 0), {"source": {"kind": "digits"}, "family": {"kind": "vae"}}
        identity |= {"seed": seed, **fields.pop("identity", {})}
        index = {
            "schema_version": 2,
            "name": name,
            "fingerprint": fingerprint([identity, real]),
            "identity": identity,
            "regime": "replace",
            "seed": seed,
            "depth": len(generations),
            "verdict": "complete",
            "train_samples": real,
            "holdout_samples": real,
            "generations": generations,
            **fields,
        }
        self.store.write_document(f"lineages/{name}-{index['fingerprint']}.json", document_json(index))
        return index


@pytest.fixture
def write_store(tmp_path: Path) -> Callable[[Payload], Written]:
    return lambda payload: Written(Store(str(tmp_path / "store")), payload)
