"""The spec of an evaluation and the sum of its metrics."""

import json
import math
from typing import Self

import numpy as np
import pytest
from pydantic import ValidationError

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.spec import DEFAULT_METRICS, EvaluateSpec
from collapse_ray.evaluate.summaries import Evaluation

TOKENS = Payload("tokens", (3,), vocab_size=5)
ALL_NAMES = {
    "perplexity",
    *(
        f"{name}{suffix}"
        for suffix in ("", "_stderr")
        for name in (
            "real_test_loss",
            *("variance_ratio", "frechet_distance"),
            *("precision", "recall", "density", "coverage", "tail_coverage"),
            *("distinct_1", "distinct_2", "distinct_3", "novel_2", "novel_3"),
            *("vocabulary_coverage", "rare_token_survival", "rare_token_share"),
        )
    ),
}


def test_the_default_is_every_metric_in_the_folder() -> None:
    assert MetricSpec.kinds() == DEFAULT_METRICS
    assert [metric.kind for metric in EvaluateSpec().metrics] == list(DEFAULT_METRICS)


def test_metrics_are_read_from_a_list_of_names_and_kinds() -> None:
    given = {"metrics": ["distinct_n", {"kind": "precision_recall", "num_neighbours": 3}], "num_samples": 10}
    spec = EvaluateSpec.model_validate_json(json.dumps(given))
    assert isinstance(spec.metrics, tuple)
    assert spec.metrics[0] == MetricSpec.resolve("distinct_n")
    assert spec.identity()["metrics"] == [
        {"kind": "distinct_n"},
        {"kind": "precision_recall", "num_neighbours": 3, "max_samples": 2000, "tail_fraction": 0.1},
    ]


def test_a_spec_reads_back_what_it_dumps() -> None:
    spec = EvaluateSpec(num_samples=7)
    assert EvaluateSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_settings_of_a_metric_are_part_of_the_identity() -> None:
    fingerprints = {
        fingerprint(EvaluateSpec(metrics=(MetricSpec.resolve({"kind": "precision_recall", **settings}),)).identity())
        for settings in ({}, {"num_neighbours": 3}, {"max_samples": 100})
    }
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": ["recal"]}, "unknown kind 'recal'"),
        ({"metrics": ["distinct_n", "distinct_n"]}, "distinct_1, distinct_1_stderr, distinct_2"),
        ({"metrics": [{"kind": "rare_token_survival", "tail_mass": 1.5}]}, "tail_mass"),
        ({"metrics": "distinct_n"}, "metrics\n.*valid array"),
        ({"block_size": 0}, "greater than or equal to 1"),
        ({"num_samples": "many"}, "num_samples"),
        ({"block_sise": 1}, "block_sise"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluateSpec.model_validate_json(json.dumps(given))


def test_every_name_is_present_even_when_nothing_was_seen() -> None:
    values = Evaluation.empty(EvaluateSpec(), TOKENS).compute()
    assert values == dict.fromkeys(ALL_NAMES)


def test_values_without_meaning_for_the_payload_are_absent() -> None:
    evaluation = Evaluation.empty(EvaluateSpec(), TOKENS)
    rows = np.array([[0, 1, 2], [0, 0, 0]], np.int32)
    evaluation.update_real(np.arange(2), rows, np.array([0.5, 1.5]))
    evaluation.update_synthetic(np.arange(2), rows)
    values = evaluation.compute()
    assert values["real_test_loss"] == 1.0
    assert values["vocabulary_coverage"] == 1.0
    assert {name for name in ALL_NAMES if name in values and values[name] is None} >= {"variance_ratio", "precision"}


class Wild(Summary):
    """A metric that forgot that its value may not be finite."""

    def merge(self, other: Self) -> None: ...

    def compute(self) -> dict[str, float | None]:
        return {"wild": math.nan, "wilder": -math.inf, "tame": 1.0}


def test_no_value_that_is_not_finite_gets_out() -> None:
    evaluation = Evaluation({("wild", "wilder", "tame"): Wild()})
    assert evaluation.compute() == {"wild": None, "wilder": None, "tame": 1.0}


def test_a_diverged_generator_gives_nulls_not_errors() -> None:
    evaluation = Evaluation.empty(EvaluateSpec(), Payload("vector", (2,)))
    real = np.random.default_rng(0).normal(size=(20, 2))
    evaluation.update_real(np.arange(20), real, np.full(20, math.inf))
    evaluation.update_synthetic(np.arange(20), np.where(real > 0, math.inf, math.nan))
    values = evaluation.compute()
    assert values["real_test_loss"] is values["variance_ratio"] is values["frechet_distance"] is None
    assert values["recall"] == 0
    json.dumps(values, allow_nan=False)
