"""Every setting that decides a number changes a fingerprint, and no setting of the execution does."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.record import Record
from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.config.payload import Payload
from collapse_ray.data.reader import plain_stream
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.sample_set import SampleSet
from collapse_ray.data.shards import shard_layout
from collapse_ray.data.source import SourceSpec
from collapse_ray.energy.marks import NoMarks
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.lineage import identity, stages
from collapse_ray.lineage.loop import run_lineage
from collapse_ray.lineage.naming import Name
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.progress import ignore
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.model.family import FamilySpec
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup

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


@pytest.fixture
def identities_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identities:
    """The identities of all artifacts that a lineage would publish, real data first, without running it."""

    def collect(lineage: LineageSpec, run: RunConfig | None = None) -> list[dict[str, Any]]:
        listed = Listed()
        monkeypatch.setattr(stages, "Publisher", lambda *_: listed)
        listed.identities = [identity.ingest(lineage, {}, part=part) for part in ("train", "holdout")]
        train, holdout = map(fingerprint, listed.identities)
        prepared = Prepared(samples(train, NUM_REAL), samples(holdout, 10))
        published = stages.PublishedStages(
            name="test",
            lineage=lineage,
            prepared=prepared,
            run=run or RunConfig(),
            store=Store(str(tmp_path)),
            group=SoloGroup(),
            open_stream=plain_stream,
            listener=ignore,
            marker=NoMarks(),
        )
        run_lineage(lineage, prepared, published)
        return listed.identities

    return collect


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

# Execution ----------------------------------------------------------------------------------------

EXECUTION: dict[str, Any] = {
    "store": "s3://elsewhere",
    "address": "ray://head:10001",
    "workers": 4,
    "gpus_per_worker": 0.5,
    "cpus_per_worker": 2.0,
    "data_cpus": 3,
    "micro_batch_size": 8,
    "zero_stage": 3,
    "activation_checkpointing": True,
    "deepspeed": "offload.json",
    "checkpoint_every": 10,
    "retries": 0,
    "keep": "records",
    "window_steps": 7,
    "meter": {"interval_s": 2.0, "tdp_w": 65.0},
}


def test_every_execution_setting_is_changed_here() -> None:
    assert EXECUTION.keys() == RunConfig.model_fields.keys()
    assert [name for name, value in EXECUTION.items() if value == getattr(RunConfig(), name)] == []


@pytest.mark.parametrize("name", EXECUTION)
@pytest.mark.parametrize("lineage", [GAUSSIAN, VAE], ids=["gaussian", "vae"])
def test_execution_settings_enter_no_fingerprint(lineage: LineageSpec, name: str, identities_of: Identities) -> None:
    assert identities_of(lineage, RunConfig(**{name: EXECUTION[name]})) == identities_of(lineage)


# Identity -----------------------------------------------------------------------------------------

EXAMPLES: dict[str, dict[str, Any]] = {
    "images": {"path": "a.npz"},
    "text": {"path": "a.txt"},
    "csv": {"path": "a.csv"},
    "parquet": {"path": "a.parquet"},
    "mix": {"real_fraction": 0.5},
    "single_shot": {"real_fraction": 0.5},
    "fresh": {"num_real": 5, "num_synthetic": 4},
}
"""Required fields of a kind; a new kind without any is tested without a line here."""


def example(kind: str) -> dict[str, Any]:
    return {"kind": kind, **EXAMPLES.get(kind, {})}


def train_for(family: str) -> dict[str, Any] | None:
    return None if FamilySpec.of_kind(family).closed_form else {"steps": 5}


BASES = [
    GAUSSIAN,
    *(lineage_of(source=example(kind)) for kind in SourceSpec.kinds()),
    *(lineage_of(family=example(kind), train=train_for(kind)) for kind in FamilySpec.kinds()),
    *(lineage_of(regime=example(kind), depth=2) for kind in RegimeSpec.kinds()),
    ALL_METRICS,
]
"""Lineages that hold every kind between them."""

CHANGES: dict[str, dict[str, Any]] = {
    "lineage.train": {"family": "vae", "train": {"steps": 5}},
    "evaluate.metrics": {"metrics": ["distinct_n"]},
    "train.epochs": {"epochs": 2.0, "steps": None},
    "train.samples": {"samples": 99, "steps": None},
    "train.tokens": {"tokens": 99, "steps": None},
    "train.schedule": {"schedule": "cosine"},
    "train.precision": {"precision": "fp32"},
    "train.init": {"init": "previous"},
    "sampling.top_k": {"top_k": 5},
    "sampling.top_p": {"top_p": 0.5},
    "generate.precision": {"precision": "bf16"},
    "gaussian.covariance": {"covariance": "diagonal"},
    "vae.hidden": {"hidden": [16]},
    "vae.likelihood": {"likelihood": "gaussian"},
    "transformer.architecture": {"architecture": "llama"},
    "transformer.num_heads": {"num_heads": 8},
    "transformer.hidden_size": {"hidden_size": 64},
    "transformer.ffn_size": {"ffn_size": 64},
    "images.num_samples": {"num_samples": 20},
    "images.key": {"key": "pictures"},
    "images.size": {"size": 16},
    "images.channels": {"channels": 1},
    "text.num_samples": {"num_samples": 20},
    "text.tokenizer": {"tokenizer": {"bpe": 300}},
    "csv.num_samples": {"num_samples": 20},
    "csv.columns": {"columns": ["a"]},
    "csv.categorical": {"categorical": ["a"]},
    "csv.separator": {"separator": ";"},
    "csv.names": {"header": False, "names": ["a"]},
    "csv.header": {"header": False, "names": ["a"]},
    "csv.missing": {"missing": ["-"]},
    "csv.comment": {"comment": "#"},
    "csv.strip": {"strip": "."},
    "parquet.num_samples": {"num_samples": 20},
    "parquet.columns": {"columns": ["a"]},
    "parquet.categorical": {"categorical": ["a"]},
    "rare_token_survival.unit": {"unit": "word"},
    "vocabulary_coverage.unit": {"unit": "word"},
    "replace.num_samples": {"num_samples": 30},
    "accumulate.num_samples": {"num_samples": 30},
    "accumulate_subsample.num_samples": {"num_samples": 30},
    "mix.num_samples": {"num_samples": 30},
    "single_shot.num_samples": {"num_samples": 30},
    "augment_latest.num_real": {"num_real": 30},
    "augment_latest.num_synthetic": {"num_synthetic": 30},
    "fresh.real_weight": {"real_weight": 0.5},
}
"""Field -> another value, with what must change beside it; needed for what is not a number or a truth value."""

EXEMPT = {"depth", "kind"}
LOCATED = {"path", "holdout", "checkpoint"}

Path_ = tuple[str | int, ...]


def fields(value: Any, owner: str, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Every field at and below `value`: its path and its name, with the kind or the key of the spec that owns it."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in entries:
        if key in EXEMPT or (key in LOCATED and isinstance(value, dict)):
            continue
        if isinstance(below, dict) or (key == "metrics" and below):
            kind = below.get("kind", key) if isinstance(below, dict) else key
            yield from fields(below, str(kind), (*path, key))
        else:
            yield (*path, key), f"{owner}.{key}"


def change(mapping: dict[str, Any], path: Path_, name: str) -> dict[str, Any]:
    changed = deepcopy(mapping)
    owner: Any = changed
    for key in path[:-1]:
        owner = owner[key]
    value = owner[path[-1]]
    if name in CHANGES:
        owner.update(CHANGES[name])
    else:
        assert isinstance(value, int | float | list), f"{name} is {value!r}: say in CHANGES how to change it"
        owner[path[-1]] = other(value)
    return changed


def other(value: Any) -> Any:
    if isinstance(value, list):
        return [other(value[0]), *value[1:]]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 or 0.5


CASES = {name: (base, path) for base in BASES for path, name in fields(base.model_dump(mode="json"), "lineage")}


@pytest.mark.parametrize(("base", "path", "name"), [(*case, name) for name, case in CASES.items()], ids=CASES)
def test_every_setting_of_a_lineage_enters_a_fingerprint(
    base: LineageSpec, path: Path_, name: str, identities_of: Identities
) -> None:
    mapping = base.model_dump(mode="json")
    assert validate(LineageSpec, mapping, "unchanged") == base
    changed = validate(LineageSpec, change(mapping, path, name), "changed")
    assert set(map(fingerprint, identities_of(changed))) != set(map(fingerprint, identities_of(base)))
    assert changed.identity() != base.identity()


def test_one_metric_less_is_another_evaluation(identities_of: Identities) -> None:
    fewer = lineage_of(evaluate={"metrics": list(MetricSpec.kinds()[1:])})
    pairs = zip(identities_of(ALL_METRICS), identities_of(fewer), strict=True)
    assert {old["stage"] for old, new in pairs if old != new} == {"evaluate"}


@pytest.mark.parametrize("kind", ["images", "text", "csv", "parquet"])
def test_where_the_data_lies_enters_no_fingerprint(kind: str, identities_of: Identities) -> None:
    here, there = (lineage_of(source={"kind": kind, "path": path}) for path in ("a", "elsewhere/a"))
    assert identities_of(here) == identities_of(there)


def test_a_deeper_lineage_has_the_artifacts_of_the_shallower_one(identities_of: Identities) -> None:
    deeper = GAUSSIAN.model_copy(update={"depth": 5})
    shallow = identities_of(GAUSSIAN)
    assert identities_of(deeper)[: len(shallow)] == shallow
    assert deeper.identity() == GAUSSIAN.identity()


# Frozen: a change here orphans every store. If it is meant, raise the stage's number in identity.STAGE_VERSION. ------

GOLDEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "digits": (
        {
            "source": "digits",
            "family": {"kind": "vae", "latent_size": 8, "hidden": [32, 64], "likelihood": "gaussian"},
            "regime": "replace",
            "train": {"steps": 1500, "batch_size": 64, "optimizer": {"lr": 5.0e-3}, "precision": "bf16"},
            "evaluate": {"num_samples": 1024},
        },
        [
            "ingest a1363d73a25dac809f2ce62dfb694415",
            "ingest 173e0910543754db38ca738a421acc77",
            "train c9625b23d757a54f12cb66147e05131f",
            "evaluate 85d68308ea3e85f3bd320896a19e6b56",
            "generate 2ec7b53840a2e2a00508c3ab32753468",
            "train 9b985edb89536d367ae86470c2a47f0d",
            "evaluate 98306c01a8bf6cd79141c1cf2107c22f",
        ],
    ),
    "pydoc": (
        {
            "source": {"kind": "pydoc", "context": 64},
            "family": {"kind": "transformer", "num_layers": 2, "num_heads": 2, "hidden_size": 64},
            "regime": {"kind": "mix", "real_fraction": 0.5},
            "train": {"epochs": 1, "batch_size": 32, "schedule": "cosine", "warmup_steps": 10},
            "evaluate": {},
        },
        [
            "ingest e5a7efe29fc30c302cbbebf626a75b52",
            "ingest 23db52382bf53772523f5fb9c0ea9d2a",
            "train 481b78929e51404b1b3b771587e944f2",
            "evaluate 653f238e070edb9d453b0a828672923b",
            "generate 2a215ba5580059ebf265d7ca8a97f200",
            "train e86468e5b403b9ef0f94b3a3cd491b88",
            "evaluate c21533c4dc8752679ec5fabe5a6ad0cd",
        ],
    ),
    "normal": (
        {
            "source": {"kind": "normal", "num_samples": 200, "replicas": 100},
            "family": {"kind": "gaussian", "ddof": 1},
            "regime": "accumulate",
            "evaluate": {"num_samples": 0},
        },
        [
            "ingest 1023a5f1c39d15b673434165d418dad4",
            "ingest d1282d2b3389f9d1d2127a3da1804600",
            "train 3d5dcd1eeabd8f8f7a5d7d42a5cb35fe",
            "evaluate 5e04822824bb91676c56534e430b4b47",
            "generate 4a5e8d5e4a082868c534eae21e81d79c",
            "train 4c8b85b4f44039327771538b5cac0b65",
            "evaluate 87ffa3d128bf4d84fe0fd791cb3b6166",
        ],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprints_are_frozen(name: str, identities_of: Identities) -> None:
    fields, expected = GOLDEN[name]
    found = identities_of(lineage_of(**fields, depth=2))
    assert [f"{of['stage']} {fingerprint(of)}" for of in found] == expected
