"""What every family must do; each file of the families' folder is found and tested."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import collapse_ray.model.families
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.noise import sample_generators
from collapse_ray.config.payload import Payload
from collapse_ray.generate.sample import sample_block
from collapse_ray.model.family import ClosedForm, FamilySpec, Generator, SamplingSpec, load_generator

CPU = torch.device("cpu")
PLAIN = SamplingSpec()
PAYLOADS = {
    "image": Payload("image", (1, 8, 8)),
    "vector": Payload("vector", (3,)),
    "tokens": Payload("tokens", (16,), 50),
}
IDS = np.array([0, 5, 2**40, 17])


def accepts(spec: FamilySpec, payload: Payload) -> bool:
    try:
        spec.check(payload, PLAIN)
    except InvalidInput:
        return False
    return True


CASES = [
    pytest.param(FamilySpec.resolve(kind), payload, id=f"{kind}-{name}")
    for kind in FamilySpec.kinds()
    for name, payload in PAYLOADS.items()
    if accepts(FamilySpec.resolve(kind), payload)
]
each_case = pytest.mark.parametrize(("spec", "payload"), CASES)


def real_rows(payload: Payload, num: int = 24) -> np.ndarray:
    rng = np.random.default_rng(1)
    if payload.kind == "vector":
        return rng.standard_normal((num, *payload.shape))
    limit = 256 if payload.vocab_size is None else payload.vocab_size
    return rng.integers(limit, size=(num, *payload.shape)).astype(payload.dtype)


def trained(spec: FamilySpec, payload: Payload) -> Generator:
    """Fitted in one pass, or after one step of gradient descent."""
    torch.manual_seed(3)
    generator = spec.build(payload)
    rows = real_rows(payload)
    if isinstance(generator, ClosedForm):
        generator.update(rows, np.ones(len(rows)))
        generator.solve()
    else:
        generator.train()(torch.from_numpy(rows)).mean().backward()
        torch.optim.SGD(generator.parameters(), lr=1e-3).step()
    return generator.eval()


def samples_of(generator: Generator, ids: np.ndarray = IDS, seed: int = 0) -> np.ndarray:
    return sample_block(generator, PLAIN, seed, 1, "generate", ids, CPU)


def assert_same(payload: Payload, one: np.ndarray, other: np.ndarray) -> None:
    """Up to the rounding of floats, which moves a pixel by one level at most."""
    tolerance = {"image": 1, "vector": 1e-5, "tokens": 0}[payload.kind]
    np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=0, atol=tolerance)


def assert_sample_is_its_own(generator: Generator, payload: Payload) -> None:
    """A sample depends on its own noise only, neither on its neighbours nor on its place."""
    alone = np.concatenate([samples_of(generator, IDS[[index]]) for index in range(len(IDS))])
    assert_same(payload, samples_of(generator), alone)
    assert_same(payload, samples_of(generator, IDS[::-1])[::-1], alone)


@pytest.mark.parametrize("kind", FamilySpec.kinds())
def test_needs_no_fields_and_models_something(kind: str) -> None:
    assert any(accepts(FamilySpec.resolve(kind), payload) for payload in PAYLOADS.values())


@pytest.mark.parametrize("kind", FamilySpec.kinds())
def test_spec_survives_a_dump(kind: str) -> None:
    spec = FamilySpec.resolve(kind)
    assert FamilySpec.resolve(spec.dump()) == spec
    assert spec.identity()["kind"] == kind


@each_case
def test_says_whether_it_is_closed_form(spec: FamilySpec, payload: Payload) -> None:
    assert isinstance(spec.build(payload), ClosedForm) == spec.closed_form


@each_case
def test_losses_are_one_finite_number_for_each_sample(spec: FamilySpec, payload: Payload) -> None:
    generator, rows = trained(spec, payload), torch.from_numpy(real_rows(payload))
    for loss in (generator(rows), generator.test_loss(rows)):
        assert loss.shape == (len(rows),)
        assert loss.isfinite().all()


@each_case
def test_every_weight_has_a_gradient(spec: FamilySpec, payload: Payload) -> None:
    generator = spec.build(payload)
    if isinstance(generator, ClosedForm):
        assert list(generator.parameters()) == []
        return
    generator(torch.from_numpy(real_rows(payload))).mean().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, f"{name} takes no part in the loss"
        assert parameter.grad.isfinite().all(), name


@each_case
def test_samples_are_payloads(spec: FamilySpec, payload: Payload) -> None:
    samples = samples_of(trained(spec, payload))
    assert samples.shape == (len(IDS), *payload.shape)
    assert samples.dtype == payload.dtype
    if payload.vocab_size is not None:
        assert samples.min() >= 0
        assert samples.max() < payload.vocab_size


@each_case
def test_samples_are_a_function_of_their_address(spec: FamilySpec, payload: Payload) -> None:
    generator = trained(spec, payload)
    torch.manual_seed(1)
    first = samples_of(generator)
    torch.manual_seed(2)
    np.testing.assert_array_equal(samples_of(generator), first)
    noise = [generator.draw_noise(sample_generators(IDS, seed, 1, "generate")) for seed in (0, 1)]
    assert len(noise[0]) == len(IDS)
    assert not torch.equal(*noise)
    assert not np.array_equal(samples_of(generator, seed=1), first)
    assert not np.array_equal(first[0], first[1])


@each_case
def test_a_sample_is_its_own(spec: FamilySpec, payload: Payload) -> None:
    assert_sample_is_its_own(trained(spec, payload), payload)


@each_case
def test_half_precision_sampling_leaves_the_weights_alone(spec: FamilySpec, payload: Payload) -> None:
    generator = trained(spec, payload)
    full = samples_of(generator)
    half = sample_block(generator, PLAIN, 0, 1, "generate", IDS, CPU, precision="bf16")
    assert half.shape == full.shape
    assert half.dtype == full.dtype
    np.testing.assert_array_equal(samples_of(generator), full)
    if spec.closed_form:
        np.testing.assert_array_equal(half, full)


@pytest.mark.slow
@each_case
def test_files_restore_the_generator(spec: FamilySpec, payload: Payload) -> None:
    generator = trained(spec, payload)
    files = generator.to_files()
    torch.manual_seed(9)
    state = torch.get_rng_state()
    restored = load_generator(spec, payload, files)
    assert torch.equal(torch.get_rng_state(), state)
    assert not restored.training
    np.testing.assert_array_equal(samples_of(restored), samples_of(generator))
    assert restored.to_files() == files


@each_case
def test_the_seed_determines_the_weights(spec: FamilySpec, payload: Payload) -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(spec.build(payload).to_files()["model.safetensors"])
    assert weights[0] == weights[1]
    assert (weights[0] == weights[2]) == spec.closed_form


@each_case
@pytest.mark.parametrize("other", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_refuses_other_payloads_by_name(spec: FamilySpec, payload: Payload, other: Payload) -> None:
    if not accepts(spec, other):
        with pytest.raises(InvalidInput, match=rf"'{spec.kind}'.*'{other.kind}'"):
            spec.check(other, PLAIN)


# A new file is all that a new family needs -----------------------------------------------------------

PLANTED = """
import numpy as np
import torch
from collapse_ray.model.family import FamilySpec, Generator

class Spec(FamilySpec):
    def check(self, payload, sampling):
        pass

    def build(self, payload):
        return Planted()

class Planted(Generator):
    def forward(self, payload):
        return payload.sum(1)

    def draw_noise(self, generators):
        return torch.from_numpy(np.stack([generators[0].standard_normal(3) for _ in generators]))

    def sample(self, noise, sampling):
        return noise.numpy()
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FamilySpec]:
    (tmp_path / "planted.py").write_text(PLANTED)
    folder = [*collapse_ray.model.families.__path__, str(tmp_path)]
    monkeypatch.setattr(collapse_ray.model.families, "__path__", folder)
    yield FamilySpec.resolve("planted")
    del sys.modules["collapse_ray.model.families.planted"]


def test_a_new_file_is_found(planted: FamilySpec) -> None:
    assert "planted" in FamilySpec.kinds()
    assert accepts(planted, PAYLOADS["vector"])


def test_the_battery_notices_shared_noise(planted: FamilySpec) -> None:
    generator = planted.build(PAYLOADS["vector"])
    with pytest.raises(AssertionError):
        assert_sample_is_its_own(generator, PAYLOADS["vector"])
