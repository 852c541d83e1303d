"""Kinds are files: found by listing, chosen by name, never confused with each other."""

from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.load import validate


def test_kinds_are_the_files_of_the_folder(planted: ModuleType) -> None:
    assert planted.Metric.kinds() == ("precision_recall", "real_test_loss")


def test_bare_name_and_mapping_are_the_same(planted: ModuleType) -> None:
    bare, mapping = planted.Metric.resolve("precision_recall"), planted.Metric.resolve({"kind": "precision_recall"})
    assert bare == mapping
    assert bare.kind == "precision_recall"


def test_lists_become_tuples_and_integers_floats(planted: ModuleType) -> None:
    family = planted.Family.resolve({"kind": "vae", "latent_size": 2, "lr": 1, "hidden": [3, 4]})
    assert family.hidden == (3, 4)
    assert type(family.lr) is float
    assert fingerprint(family.identity()) == fingerprint({"kind": "vae", "latent_size": 2, "lr": 1.0, "hidden": [3, 4]})


@pytest.mark.parametrize("wrong", [True, 2.0, "2", None])
def test_values_are_strict(planted: ModuleType, wrong: Any) -> None:
    with pytest.raises(ValidationError):
        planted.Family.resolve({"kind": "vae", "latent_size": wrong})


def test_sizes_do_not_share_a_fingerprint(planted: ModuleType) -> None:
    """The field is typed as the root, of which `latent_size` is no field."""
    experiments = [planted.Experiment(family={"kind": "vae", "latent_size": size}) for size in (8, 64)]
    assert len({fingerprint(experiment.identity()) for experiment in experiments}) == 2


def test_kinds_of_equal_fields_do_not_share_a_fingerprint(planted: ModuleType) -> None:
    one = planted.Metric.resolve("real_test_loss").identity()
    assert one == {"kind": "real_test_loss"}


def test_located_fields_stay_out_of_nested_identities(planted: ModuleType) -> None:
    vae = {"kind": "vae", "latent_size": 2}
    here, there = (
        planted.Experiment(family={"kind": "mixture", "parts": [vae | {"weights": place}]}) for place in ("a", "b")
    )
    assert here != there
    assert here.identity() == there.identity()


FAMILIES = [
    {"kind": "vae", "latent_size": 2, "weights": "a/b"},
    {"kind": "mixture", "parts": [{"kind": "vae", "latent_size": 1}, {"kind": "gmm", "num_components": 2}]},
    {
        "kind": "mixture",
        "parts": [{"kind": "mixture", "parts": [{"kind": "vae", "latent_size": 1, "hidden": [1, 2]}]}],
        "prior": {"kind": "gmm", "num_components": 3},
    },
]


@pytest.mark.parametrize("value", FAMILIES)
def test_dump_resolves_to_an_equal_spec(planted: ModuleType, value: dict[str, Any]) -> None:
    family = planted.Family.resolve(value)
    assert planted.Family.resolve(family.dump()) == family


@pytest.mark.parametrize("value", FAMILIES)
def test_composite_dumps_its_plugins_whole(planted: ModuleType, value: dict[str, Any]) -> None:
    experiment = planted.Experiment(
        family=value, second="gmm" and {"kind": "gmm", "num_components": 1}, evaluate={"metrics": ("real_test_loss",)}
    )
    again = validate(planted.Experiment, experiment.model_dump(mode="json"), "dump")
    assert again == experiment
    assert again.identity() == experiment.identity()


def test_optional_plugin_may_be_null(planted: ModuleType) -> None:
    assert planted.Family.resolve({"kind": "mixture", "parts": [], "prior": None}).prior is None


def test_instances_pass(planted: ModuleType) -> None:
    family = planted.Family.resolve({"kind": "gmm", "num_components": 2})
    assert planted.Experiment(family=family).family is family


def test_unknown_kind_names_the_nearest(planted: ModuleType) -> None:
    with pytest.raises(PydanticCustomError, match="unknown kind 'vea'; did you mean 'vae'"):
        planted.Family.of_kind("vea")


@pytest.mark.parametrize("value", [3, None, {"latent_size": 2}, {"kind": 3}, ["vae"]])
def test_what_has_no_kind_is_refused(planted: ModuleType, value: Any) -> None:
    with pytest.raises(PydanticCustomError, match=r"needs a 'kind'; choices: .*vae"):
        planted.Family.resolve(value)


def test_missing_library_of_a_kind_is_not_an_unknown_kind(planted: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_installed"):
        planted.Experiment(family="needs_absent_library")


def test_broken_file_of_a_kind_is_not_a_verdict_on_the_input(planted: ModuleType) -> None:
    """A ValueError inside a validator would become a ValidationError."""
    with pytest.raises(
        ImportError, match=r"planted\.families\.broken cannot be imported: table has no row 3"
    ) as caught:
        planted.Experiment(family="broken")
    assert isinstance(caught.value.__cause__, ValueError)
