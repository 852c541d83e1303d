"""Every setting that decides a number changes a fingerprint; depth, and where the data lies, change none."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from identified_lineages import ALL_METRICS, GAUSSIAN, Identities, lineage_of

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.load import validate
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.evaluate.metric import MetricSpec
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.model.family import FamilySpec

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
