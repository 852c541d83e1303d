"""From a mapping to a spec, or to a message that says what to do."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from written_specs import read

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import validate


def problems(planted: ModuleType, mapping: dict[str, Any]) -> dict[str, str]:
    """The lines of the error, by path."""
    with pytest.raises(InvalidInput) as caught:
        validate(planted.Experiment, mapping, "spec.yaml")
    head, *lines = str(caught.value).splitlines()
    assert head == f"spec.yaml: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return dict(line.strip().split(": ", 1) for line in lines)


VAE = {"kind": "vae", "latent_size": 2}


def test_valid_mapping(planted: ModuleType) -> None:
    mapping = {
        "family": {**VAE, "lr": 1, "hidden": [8, 8]},
        "evaluate": {"metrics": ["real_test_loss", {"kind": "precision_recall", "k": 5}]},
        "train": {"epochs": 3, "schedule": 0.5, "deepspeed": "zero.json"},
        "seeds": [0, 1],
    }
    found = validate(planted.Experiment, mapping, "spec.yaml")
    assert found.family.hidden == (8, 8)
    assert [metric.kind for metric in found.evaluate.metrics] == ["real_test_loss", "precision_recall"]
    assert found.evaluate.metrics[1].k == 5
    assert found.train.deepspeed == Path("zero.json")


def test_paths_lead_through_plugins(planted: ModuleType) -> None:
    metrics = ["real_test_loss", "precision_recall", {"kind": "precision_recall", "tail_mass": "much"}]
    parts = [VAE, {"kind": "mixture", "parts": [{"kind": "vae", "latent_size": 2, "lr": [1]}]}]
    found = problems(
        planted,
        {
            "family": {"kind": "vae"},
            "second": {"kind": "mixture", "parts": parts},
            "evaluate": {"metrics": metrics, "num_samples": 0},
        },
    )
    assert found == {
        "family.latent_size": "missing; kind 'vae' needs an integer (Numbers in one latent vector.); "
        "add it, or replace the whole: family={kind: vae, latent_size: …}",
        "second.parts[1].parts[0].lr": "given a list of 1; allowed: a number; "
        "correct it or give second.parts[1].parts[0].lr=…",
        "evaluate.metrics[2].tail_mass": 'given "much" (text); allowed: a number; '
        "correct it or give evaluate.metrics[2].tail_mass=…",
        "evaluate.num_samples": "given 0; allowed: a number above 0; correct it or give evaluate.num_samples=…",
    }


def test_changed_kind_says_what_the_new_one_lacks(planted: ModuleType, spec: Path) -> None:
    mapping = read(spec, "family: {kind: vae, latent_size: 2}", "family.kind=gmm")
    assert problems(planted, mapping) == {
        "family.num_components": "missing; kind 'gmm' needs an integer; "
        "add it, or replace the whole: family={kind: gmm, num_components: …}",
        "family.latent_size": "kind 'gmm' has no such key; choices: num_components; "
        "rename or remove it, or replace the whole: family={kind: gmm, …}",
    }


def test_bare_kind_that_needs_more(planted: ModuleType) -> None:
    assert "family={kind: gmm, num_components: …}" in problems(planted, {"family": "gmm"})["family.num_components"]


def test_unknown_names_have_a_nearest(planted: ModuleType) -> None:
    found = problems(
        planted,
        {
            "famly": 1,
            "family": "vea",
            "evaluate": {"metrics": ["real_test_los", {"k": 3}], "num_sample": 1},
            "second": {**VAE, "hiden": [1]},
            "train": {"epochs": 1, "precision": "bf-16"},
        },
    )
    assert found["famly"].startswith("unknown key; did you mean 'family'?")
    assert found["family"].startswith("unknown kind 'vea'; did you mean 'vae'?")
    assert found["evaluate.metrics[0]"].startswith("unknown kind 'real_test_los'; did you mean 'real_test_loss'?")
    assert "needs a 'kind'; choices: precision_recall, real_test_loss" in found["evaluate.metrics[1]"]
    assert found["evaluate.num_sample"].startswith("unknown key; did you mean 'num_samples'?")
    assert found["second.hiden"].startswith("kind 'vae' has no such key; did you mean 'hidden'?")
    assert "given \"bf-16\" (text); allowed: 'fp32' or 'bf16'" in found["train.precision"]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("epochs", True, "given true; allowed: an integer"),
        ("epochs", 1.5, "given 1.5; allowed: an integer"),
        ("epochs", "3", 'given "3" (text); allowed: an integer'),
        ("epochs", None, "given null; allowed: an integer"),
        ("epochs", {"a": 1}, "given a mapping; allowed: an integer"),
        ("schedule", "linear", "given \"linear\" (text); allowed: 'constant' or a number"),
        ("deepspeed", 3, "given 3; allowed: text"),
    ],
)
def test_types_have_their_yaml_names(planted: ModuleType, path: str, value: Any, line: str) -> None:
    found = problems(planted, {"family": VAE, "train": {"epochs": 1, path: value}})
    assert found == {f"train.{path}": f"{line}; correct it or give train.{path}=…"}


def test_lists_and_mappings_have_their_yaml_names(planted: ModuleType) -> None:
    found = problems(planted, {"family": VAE, "seeds": 3, "evaluate": [1], "train": "fast"})
    assert found["seeds"] == "given 3; allowed: a list; correct it or give seeds=…"
    assert found["evaluate"].startswith("given a list of 1; allowed: a mapping")
    assert found["train"].startswith('given "fast" (text); allowed: a mapping')


def test_long_values_are_cut(planted: ModuleType) -> None:
    assert len(problems(planted, {"family": VAE, "seeds": "x" * 1000})["seeds"]) < 200


def test_own_checks_keep_their_words(planted: ModuleType) -> None:
    found = problems(planted, {"family": VAE, "train": {"epochs": 13}})
    assert found == {"train": "epochs=13 is out of luck; give another number"}


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1, 2}, b"x"])
def test_what_is_not_json_is_refused(planted: ModuleType, value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.yaml: .*values are null, true, false, finite numbers"):
        validate(planted.Experiment, {"family": VAE, "seeds": value}, "spec.yaml")


def test_alias_to_itself_is_refused(planted: ModuleType, spec: Path) -> None:
    with pytest.raises(InvalidInput, match="Circular"):
        validate(planted.Experiment, read(spec, "family: &f {kind: *f}"), "spec.yaml")
