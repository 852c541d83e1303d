"""What every metric must do, run over each file of the metrics folder."""

import itertools
import math
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collapse_ray.evaluate.metrics
from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.spec import EvaluateSpec
from collapse_ray.evaluate.summaries import Evaluation

PAYLOADS = {
    "image": Payload("image", (1, 3, 3)),
    "vector": Payload("vector", (2,)),
    "replicas": Payload("vector", (4, 2)),
    "tokens": Payload("tokens", (6,), vocab_size=7),
}
NUM_REAL, NUM_SYNTHETIC = 24, 18
CASES = [(kind, name) for kind in MetricSpec.kinds() for name in PAYLOADS]


def rows(payload: Payload, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if payload.kind == "vector":
        return rng.normal(seed, 1, (count, *payload.shape))
    top = payload.vocab_size or 256
    # Squared, so that some tokens are rare.
    return (rng.uniform(size=(count, *payload.shape)) ** 2 * top).astype(payload.dtype)


def fill(state: Summary | Evaluation, payload: Payload, real: Iterable[int], synthetic: Iterable[int]) -> None:
    """Feeds the rows of the given numbers, in two blocks."""
    for block in np.array_split(np.array(list(real), np.int64), 2):
        loss = np.random.default_rng(2).normal(3, 1, NUM_REAL)[block]
        state.update_real(block, rows(payload, NUM_REAL, 0)[block], loss)
    for block in np.array_split(np.array(list(synthetic), np.int64), 2):
        state.update_synthetic(block, rows(payload, NUM_SYNTHETIC, 1)[block])


def assert_close(values: dict[str, float | None], expected: dict[str, float | None]) -> None:
    """The same up to rounding; absent stays absent."""
    assert {name for name, value in values.items() if value is None} == {
        name for name, value in expected.items() if value is None
    }
    present = {name: value for name, value in expected.items() if value is not None}
    assert {name: values[name] for name in present} == pytest.approx(present, rel=1e-9, abs=1e-9)


def check_metric(spec: MetricSpec, payload: Payload) -> None:
    """The contract of `evaluate/metric.py`, for one payload."""

    def part(real: Iterable[int], synthetic: Iterable[int]) -> Summary:
        summary = spec.empty(payload)
        assert isinstance(summary, Summary)
        fill(summary, payload, real, synthetic)
        return pickle.loads(pickle.dumps(summary))

    nothing = spec.empty(payload)
    if nothing is None:
        return
    assert nothing.compute() == dict.fromkeys(spec.names)
    whole = part(range(NUM_REAL), range(NUM_SYNTHETIC)).compute()
    assert tuple(sorted(whole)) == tuple(sorted(spec.names))
    assert all(value is None or (type(value) is float and math.isfinite(value)) for value in whole.values())
    for order in itertools.permutations(range(3)):
        merged = spec.empty(payload)
        assert merged is not None
        for i in order:
            merged.merge(part(range(i, NUM_REAL, 3), range(i, NUM_SYNTHETIC, 3)))
        assert_close(merged.compute(), whole)


@pytest.mark.parametrize(("kind", "payload"), CASES)
def test_every_metric_keeps_the_contract(kind: str, payload: str) -> None:
    check_metric(MetricSpec.resolve(kind), PAYLOADS[payload])


@pytest.mark.parametrize("kind", MetricSpec.kinds())
def test_every_metric_has_meaning_for_some_payload_and_says_what_it_is(kind: str) -> None:
    spec = MetricSpec.resolve(kind)
    assert any(spec.empty(payload) is not None for payload in PAYLOADS.values())
    assert spec.names and type(spec).__doc__
    assert MetricSpec.resolve(spec.dump()) == spec


PLANTED = '''
from collapse_ray.evaluate.metric import MetricSpec, Summary

class Spec(MetricSpec):
    """Number of synthetic samples."""
    names = ("num_seen",)
    def empty(self, payload):
        return Seen()

class Seen(Summary):
    def __init__(self):
        self.count = 0
    def update_synthetic(self, sample_ids, payload):
        self.count += len(payload)
    def merge(self, other):
        self.count += other.count
    def compute(self):
        return {"num_seen": float(self.count) if self.count else None}
'''


def test_a_new_file_is_a_new_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    folder = collapse_ray.evaluate.metrics
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    try:
        assert "planted" in MetricSpec.kinds()
        payload = PAYLOADS["vector"]
        check_metric(MetricSpec.resolve("planted"), payload)
        spec = EvaluateSpec.model_validate_json('{"metrics": ["planted"]}')
        evaluation = Evaluation.empty(spec, payload)
        fill(evaluation, payload, (), range(5))
        assert evaluation.compute() == {"num_seen": 5.0}
    finally:
        sys.modules.pop(f"{folder.__name__}.planted", None)
        delattr(folder, "planted")


@pytest.mark.parametrize("name", PAYLOADS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_an_evaluation_does_not_depend_on_how_rows_were_shared_out(name: str, data: st.DataObject) -> None:
    payload, spec = PAYLOADS[name], EvaluateSpec()
    whole = Evaluation.empty(spec, payload)
    fill(whole, payload, range(NUM_REAL), range(NUM_SYNTHETIC))
    real = np.array(data.draw(st.lists(st.integers(0, 2), min_size=NUM_REAL, max_size=NUM_REAL)))
    synthetic = np.array(data.draw(st.lists(st.integers(0, 2), min_size=NUM_SYNTHETIC, max_size=NUM_SYNTHETIC)))
    merged = Evaluation.empty(spec, payload)
    for rank in data.draw(st.permutations(range(3))):
        part = Evaluation.empty(spec, payload)
        fill(part, payload, np.flatnonzero(real == rank), np.flatnonzero(synthetic == rank))
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert_close(merged.compute(), whole.compute())
