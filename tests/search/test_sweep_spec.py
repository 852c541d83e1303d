"""Sweep files: what they mean, against lineages written out by hand."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from plain_sweep import GAUSSIAN, sweep_of

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.errors import InvalidInput
from collapse_ray.lineage.spec import LineageSpec, load_experiment
from collapse_ray.search.check import check_sweep
from collapse_ray.search.spec import load_sweep
from collapse_ray.search.trial import Trial, flat, point_label

MIXES = {"regime": ["replace", {"kind": "mix", "real_fraction": 0.5}], "source.num_samples": [25, 50]}
BASE = {**GAUSSIAN["base"], "source": {"kind": "normal"}}


def written(folder: Path, regime: Any, num_samples: int, seed: int) -> LineageSpec:
    """The same lineage from a file of its own."""
    keys = {**BASE, "source": {"kind": "normal", "num_samples": num_samples}, "regime": regime, "depth": 4}
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump({**keys, "seed": seed}))
    return load_experiment(path, []).lineages[0]


def test_a_lineage_is_what_its_own_file_would_say(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes=MIXES, base=BASE, seeds=[3, 5])
    expected = [
        written(tmp_path, regime, num, seed) for regime in MIXES["regime"] for num in (25, 50) for seed in (3, 5)
    ]
    assert [sweep.lineage(trial.point, trial.seed) for trial in sweep.trials()] == expected


def test_the_last_axis_varies_fastest(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes=MIXES, base=BASE)
    labels = [sweep.arm_label(point) for point in sweep.points()]
    assert labels == [
        "replace num_samples=25",
        "replace num_samples=50",
        "mix real_fraction=0.5 num_samples=25",
        "mix real_fraction=0.5 num_samples=50",
    ]
    assert [sweep.lineage_name(point) for point in sweep.points()] == [
        *("s-replace-25", "s-replace-50", "s-mix-0.5-25", "s-mix-0.5-50")
    ]


def test_an_axis_reaches_below_a_bare_kind_and_into_lists(tmp_path: Path) -> None:
    axes = {"regime.real_fraction": [0.25], "evaluate.metrics[1].tail_mass": [0.1]}
    base = {**BASE, "regime": "mix", "evaluate": {"metrics": ["real_test_loss", "rare_token_survival"]}}
    sweep = sweep_of(tmp_path, axes=axes, base=base)
    lineage = sweep.lineage(sweep.points()[0], 0)
    assert lineage.regime.identity() == {"kind": "mix", "num_samples": None, "real_fraction": 0.25}
    assert lineage.evaluate.metrics[1].identity()["tail_mass"] == 0.1


def test_one_axis_may_lie_below_another(tmp_path: Path) -> None:
    axes = {"regime.real_fraction": [0.0, 0.5], "regime": ["mix", {"kind": "single_shot", "num_samples": 9}]}
    sweep = sweep_of(tmp_path, axes=axes, depth=2)
    regimes = [sweep.lineage(point, 0).regime.identity() for point in sweep.points()]
    assert regimes == [
        {"kind": kind, "num_samples": num, "real_fraction": fraction}
        for fraction in (0.0, 0.5)
        for kind, num in (("mix", None), ("single_shot", 9))
    ]


def test_no_axes_is_one_point_for_all_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, axes={}, base={**BASE, "regime": "replace"}, seeds=[0, 1])
    assert sweep.trials() == [Trial({}, 0), Trial({}, 1)]
    assert (sweep.arm_label({}), sweep.lineage_name({})) == ("s", "s")


# A base that is a file ----------------------------------------------------------------------------


def with_base_file(folder: Path, **keys: Any) -> Path:
    (folder / "specs").mkdir()
    run = {"store": "elsewhere", "workers": 2}
    file = {**BASE, "regime": {"kind": "mix", "real_fraction": 0.5}, "depth": 7, "seeds": [1, 2], "run": run}
    (folder / "specs" / "b.yaml").write_text(yaml.safe_dump({**file, "name": "b"}))
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({"base": "specs/b.yaml", "axes": {"regime.real_fraction": [0.1]}, **keys}))
    return path


def test_depth_seeds_and_run_come_from_the_file_of_the_base(tmp_path: Path) -> None:
    sweep = load_sweep(with_base_file(tmp_path))
    assert (sweep.name, sweep.spec.depth, sweep.spec.seeds) == ("s", 7, (1, 2))
    assert (sweep.run.store, sweep.run.workers) == ("elsewhere", 2)
    assert sweep.lineage(sweep.points()[0], 1).regime.identity()["real_fraction"] == 0.1


def test_the_sweep_takes_precedence_over_the_file_and_overrides_over_both(tmp_path: Path) -> None:
    path = with_base_file(tmp_path, depth=3, seeds=[5])
    sweep = load_sweep(path, ["run.store=x", "seeds=[6]", "base.source.num_samples=30"])
    assert (sweep.spec.depth, sweep.spec.seeds) == (3, (6,))
    assert (sweep.run.store, sweep.run.workers) == ("x", 2)
    assert sweep.lineage(sweep.points()[0], 0).source.identity()["num_samples"] == 30


def test_another_file_may_be_given_as_an_override(tmp_path: Path) -> None:
    path = with_base_file(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**BASE, "regime": "mix", "depth": 2, "seed": 9}))
    sweep = load_sweep(path, ["base.family.ddof=1", "base=c.yaml", "base.family={kind: gaussian, ddof: 1}"][1:])
    assert (sweep.spec.depth, sweep.spec.seeds) == (2, (9,))
    assert sweep.lineage(sweep.points()[0], 0).family.identity()["ddof"] == 1


# Identity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"max_concurrent": 3},
        {"callbacks": {"tensorboard": {}}},
        {"run": {"store": "elsewhere", "workers": 2}},
        {"name": "another"},
        {"axes": {"regime": [{"kind": "replace"}, {"kind": "accumulate", "num_samples": None}]}},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_execution_and_spelling_are_no_part_of_the_identity(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert sweep_of(tmp_path, **keys).fingerprint == sweep_of(tmp_path).fingerprint


@pytest.mark.parametrize(
    "keys",
    [
        {"depth": 5},
        {"seeds": [0, 1]},
        {"axes": {"regime": ["replace"]}},
        {"base": {**BASE, "family": {"kind": "gaussian", "ddof": 1}}},
        {"stop": {}},
        {"profile": {"false_alarm_rate": 0.01}},
        {"scheduler": {"kind": "asha", "metric": "variance_ratio"}},
        {"search": {"kind": "random", "num_points": 2}},
        {"budget": {"trials": 1}},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_what_decides_on_lineages_is_identity(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert sweep_of(tmp_path, **keys).fingerprint != sweep_of(tmp_path).fingerprint


def test_ends_of_a_range_are_identity(tmp_path: Path) -> None:
    def of(**ends: float) -> str:
        axes = {"regime": ["mix"], "regime.real_fraction": ends}
        return sweep_of(tmp_path, axes=axes, search={"kind": "random", "num_points": 1}).fingerprint

    assert len({of(low=0, high=1), of(low=0, high=0.5), of(low=0, high=1, step=0.5)}) == 3


def test_names_of_long_points_are_cut_and_stay_apart(tmp_path: Path) -> None:
    metrics = [
        ["real_test_loss", "variance_ratio", {"kind": "rare_token_survival", "tail_mass": mass}]
        for mass in (0.01, 0.02)
    ]
    base = {"source": "normal", "family": "gaussian", "regime": "replace"}
    sweep = sweep_of(tmp_path, axes={"evaluate.metrics": metrics}, base=base)
    names = {sweep.lineage_name(point): fingerprint(dict(point)) for point in sweep.points()}
    assert len(names) == 2
    assert all(len(name) < 90 and name.endswith(of[:8]) for name, of in names.items())


def test_labels_name_what_would_be_ambiguous() -> None:
    assert point_label({"source.num_samples": 5, "regime.num_samples": 7}) == (
        "source.num_samples=5 regime.num_samples=7"
    )
    assert point_label({"source": {"kind": "normal", "std": 2.0}, "train.schedule": "cosine"}) == (
        "normal std=2.0 schedule=cosine"
    )


def test_flat_spreads_mappings_as_if_each_field_were_an_axis() -> None:
    assert flat({"regime": {"kind": "mix", "real_fraction": 0.5}, "depth": 3}) == {
        "regime": "mix",
        "regime.real_fraction": 0.5,
        "depth": 3,
    }


# The real data ------------------------------------------------------------------------------------


def test_a_source_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collapse_ray.data.sources import normal  # noqa: PLC0415

    opened = []
    original = normal.Spec.open
    monkeypatch.setattr(normal.Spec, "open", lambda self, seed: opened.append(self.num_samples) or original(self, seed))
    assert check_sweep(sweep_of(tmp_path, axes=MIXES, base=BASE)) == "vector"
    assert sorted(opened) == [25, 50]


def test_points_are_chosen_as_a_frontier_search_goes(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path,
        axes={"regime": ["mix"], "regime.real_fraction": {"low": 0, "high": 1}},
        search={"kind": "frontier", "axis": "regime.real_fraction", "precision": 0.1},
    )
    assert sweep.probes == [{"regime": "mix", "regime.real_fraction": value} for value in (0.0, 1.0)]
    with pytest.raises(InvalidInput, match="chooses points as it goes"):
        sweep.points()
