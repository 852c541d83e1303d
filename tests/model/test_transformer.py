"""The language model against plain Hugging Face transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare
from torch.distributions import Categorical
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.noise import sample_generators
from collapse_ray.config.payload import Payload
from collapse_ray.generate.sample import sample_block
from collapse_ray.model.families.transformer import Spec, Transformer
from collapse_ray.model.family import FamilySpec, SamplingSpec, load_generator

CPU = torch.device("cpu")
PLAIN = SamplingSpec()
VOCAB = 40
TEXT = Payload("tokens", (12,), VOCAB)
ARCHITECTURES = pytest.mark.parametrize("architecture", ["gpt2", "llama"])


def small(architecture: str, **fields: object) -> Spec:
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_size": 16}
    return Spec.model_validate({"architecture": architecture, **sizes, **fields})


def build(spec: Spec, payload: Payload = TEXT) -> Transformer:
    """With weights ten times those of a new model, so that its distributions are far from uniform."""
    torch.manual_seed(0)
    spec.check(payload, PLAIN)
    model = spec.build(payload)
    if spec.checkpoint is None:
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(10)
    return model.eval()


def tokens(num: int = 3, payload: Payload = TEXT) -> torch.Tensor:
    return torch.randint(0, VOCAB, (num, *payload.shape), dtype=torch.int32)


def write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def next_token(model: Transformer, prefix: list[int]) -> torch.Tensor:
    """Probabilities (V,) from one pass over the whole prefix, without a cache."""
    logits = model.model(torch.tensor([[model.start, *prefix]]), use_cache=False).logits[0, -1]
    return logits[: model.vocab_size].double().softmax(0)


@ARCHITECTURES
def test_loss_is_the_cross_entropy_of_every_token(architecture: str) -> None:
    model, payload = build(small(architecture)), tokens()
    loss = model(payload)
    for row, sequence in zip(loss, payload.tolist(), strict=True):
        log_likelihood = [
            Categorical(probs=next_token(model, sequence[:position])).log_prob(torch.tensor(token))
            for position, token in enumerate(sequence)
        ]
        torch.testing.assert_close(row.double(), -torch.stack(log_likelihood).mean())
    torch.testing.assert_close(model.test_loss(payload), loss)


@ARCHITECTURES
def test_cached_sampling_is_sampling_without_a_cache(architecture: str) -> None:
    model = build(small(architecture))
    noise = model.draw_noise(sample_generators(np.arange(5), 0, 1, "generate"))
    with torch.inference_mode():
        samples = model.sample(noise, PLAIN)
        for sample, uniforms in zip(samples, noise, strict=True):
            expected: list[int] = []
            for uniform in uniforms:
                expected.append(int((next_token(model, expected).cumsum(0) < uniform).sum()))
            assert sample.tolist() == expected
    assert samples.dtype == np.int32


def test_first_and_second_tokens_follow_the_model() -> None:
    payload = Payload("tokens", (2,), 8)
    model = build(small("gpt2"), payload)
    num = 8_000
    samples = sample_block(model, PLAIN, 0, 1, "generate", np.arange(num), CPU)
    with torch.inference_mode():
        first = next_token(model, []).numpy()
        joint = np.stack([first[token] * next_token(model, [token]).numpy() for token in range(8)])
    assert chisquare(np.bincount(samples[:, 0], minlength=8), num * first).pvalue > 1e-3
    assert (num * joint > 5).all()
    counts = np.bincount(8 * samples[:, 0] + samples[:, 1], minlength=64)
    assert chisquare(counts, num * joint.ravel()).pvalue > 1e-3


@ARCHITECTURES
def test_cold_sampling_is_greedy_decoding(architecture: str, tmp_path: Path) -> None:
    """By `generate` of the artifact, whose own settings must keep it from the start token."""
    model = build(small(architecture))
    cold = sample_block(model, SamplingSpec(temperature=1e-6), 0, 1, "generate", np.arange(4), CPU)
    write(model.to_files(), tmp_path)
    reference: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    start = torch.tensor([[model.start]])
    greedy = reference.generate(start, attention_mask=torch.ones(1, 1), max_new_tokens=12, do_sample=False)
    assert cold.tolist() == [greedy[0, 1:].tolist()] * 4


@pytest.mark.parametrize("fields", [{"top_k": 3}, {"top_p": 0.5}, {"temperature": 0.7, "top_k": 6, "top_p": 0.8}])
def test_filters_restrict_the_support(fields: dict) -> None:
    """In the order of transformers: temperature, then top_k, then top_p of what is left."""
    payload = Payload("tokens", (1,), VOCAB)
    model, sampling = build(small("gpt2"), payload), SamplingSpec(**fields)
    with torch.inference_mode():
        probabilities = next_token(model, []) ** (1 / sampling.temperature)
    ranked = torch.argsort(probabilities, descending=True)[: sampling.top_k]
    kept = probabilities[ranked] / probabilities[ranked].sum()
    if sampling.top_p is not None:
        kept = kept[: int((kept.cumsum(0) < sampling.top_p).sum()) + 1]
    num = 4_000
    samples = sample_block(model, sampling, 0, 1, "generate", np.arange(num), CPU).ravel()
    counts = np.bincount(samples, minlength=VOCAB)
    assert set(np.flatnonzero(counts)) <= set(ranked[: len(kept)].tolist())
    assert chisquare(counts[ranked[: len(kept)]], num * (kept / kept.sum()).numpy()).pvalue > 1e-3


def test_extreme_uniforms_find_possible_tokens() -> None:
    """Uniform numbers lie in (0, 1]: the ends must not fall on a token that the filter removed."""
    payload = Payload("tokens", (1,), VOCAB)
    model = build(small("gpt2"), payload)
    with torch.inference_mode():
        allowed = torch.argsort(next_token(model, []), descending=True)[:2]
        ends = torch.tensor([[2.0**-53], [1.0]], dtype=torch.float64)
        low, high = model.sample(ends, SamplingSpec(top_k=2)).ravel()
    assert low == allowed.min()
    assert high == allowed.max()


@ARCHITECTURES
@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_transformers_loads_the_artifact(architecture: str, tie_embeddings: bool, tmp_path: Path) -> None:
    spec = small(architecture, tie_embeddings=tie_embeddings)
    model = build(spec)
    files = model.to_files()
    write(files, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    inputs = torch.cat([torch.full((3, 1), loaded.config.bos_token_id), tokens().long()[:, :-1]], dim=1)
    torch.testing.assert_close(loaded(inputs).logits, model.model(inputs).logits)

    again = load_generator(spec, TEXT, files)
    assert isinstance(again, Transformer)
    torch.testing.assert_close(again.model(inputs).logits, model.model(inputs).logits, rtol=0, atol=0)
    output, embedding = again.model.get_output_embeddings(), again.model.get_input_embeddings()
    assert output is not None
    assert (output.weight is embedding.weight) == tie_embeddings


def test_making_loading_and_saving_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    load_generator(small("gpt2"), TEXT, build(small("gpt2")).to_files())
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@ARCHITECTURES
def test_activation_checkpointing_changes_no_gradient(architecture: str) -> None:
    payload = tokens()
    gradients = []
    for checkpointing in (False, True):
        model = build(small(architecture)).train()
        if checkpointing:
            model.enable_activation_checkpointing()
            assert model.model.is_activation_checkpointing
        model(payload).mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_sizes() -> None:
    """Weights of GPT-2 by hand: embeddings (start token included), blocks, final norm."""
    width, inner, layers = 16, 24, 2
    block = 4 * width + (3 * width * width + 3 * width) + (width * width + width) + (2 * width * inner + inner + width)
    expected = (VOCAB + 1) * width + 12 * width + layers * block + 2 * width
    assert sum(p.numel() for p in build(small("gpt2", ffn_size=inner)).parameters()) == expected
    llama = build(small("llama")).model.config
    assert (llama.intermediate_size, llama.vocab_size, llama.bos_token_id) == (48, VOCAB + 1, VOCAB)


def test_dropout_is_applied_in_training_only() -> None:
    model, payload = build(small("gpt2", dropout=0.5)), tokens()
    assert torch.equal(model(payload), model(payload))
    model.train()
    assert not torch.equal(model(payload), model(payload))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 30, "num_heads": 4}, r"hidden_size=30 must be a multiple of 1 \* num_heads = 4"),
        ({"architecture": "llama", "hidden_size": 12}, r"must be a multiple of 2 \* num_heads = 8"),
        ({"checkpoint": "here", "num_layers": 3}, "leave num_layers out, or checkpoint"),
        ({"dropout": 1.0}, "less than 1"),
    ],
)
def test_refuses_inconsistent_sizes(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FamilySpec.resolve({"kind": "transformer", **fields})


def test_refuses_what_is_no_text() -> None:
    with pytest.raises(InvalidInput, match="it models tokens"):
        Spec().check(Payload("image", (1, 8, 8)), PLAIN)


# Checkpoints -------------------------------------------------------------------------------------


def save_checkpoint(folder: Path, **fields: object) -> GPT2LMHeadModel:
    """A GPT-2 as one would download it: its own bos token is an ordinary one of its vocabulary."""
    torch.manual_seed(5)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12, "vocab_size": VOCAB}
    model = GPT2LMHeadModel(GPT2Config(**{**sizes, "bos_token_id": 7, "eos_token_id": 7, **fields}))
    model.save_pretrained(folder)
    return model.eval()


def test_starts_from_a_checkpoint(tmp_path: Path) -> None:
    reference = save_checkpoint(tmp_path, n_positions=13)
    model = build(Spec(checkpoint=str(tmp_path)))
    payload = tokens()
    framed = torch.cat([torch.full((3, 1), 7), payload.long()], dim=1)
    torch.testing.assert_close(model(payload).mean(), reference(framed, labels=framed).loss)
    assert sample_block(model, PLAIN, 0, 1, "generate", np.arange(3), CPU).shape == (3, 12)


def test_checkpoint_of_a_padded_vocabulary_and_no_bos(tmp_path: Path) -> None:
    """Ids beyond the data's vocabulary are never sampled; sequences start with eos."""
    torch.manual_seed(5)
    sizes: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = LlamaConfig(hidden_size=16, vocab_size=64, bos_token_id=None, eos_token_id=[60, 61], **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = build(Spec(checkpoint=str(tmp_path)))
    assert model.start == 60
    samples = sample_block(model, SamplingSpec(temperature=100.0), 0, 1, "generate", np.arange(64), CPU)
    assert set(np.unique(samples)) == set(range(VOCAB))


def test_identity_is_the_checkpoints_content(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a")
    here = Spec(checkpoint=str(tmp_path / "a")).identity()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert Spec(checkpoint=str(tmp_path / "b")).identity() == here
    weights = tmp_path / "b" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert Spec(checkpoint=str(tmp_path / "b")).identity() != here
    assert Spec().identity().keys() == {"kind", *Spec.model_fields} - {"checkpoint"}


def test_checkpoint_spec_survives_a_dump(tmp_path: Path) -> None:
    spec = Spec(checkpoint=str(tmp_path))
    assert FamilySpec.resolve(spec.dump()) == spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 30}, "it knows 30 tokens, the data has 40"),
        ({"n_positions": 11}, "it reads at most 11 tokens, a sample has 12"),
        ({"bos_token_id": None, "eos_token_id": None}, "set bos_token_id there"),
    ],
)
def test_refuses_unfit_checkpoints(fields: dict, message: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, **fields)
    with pytest.raises(InvalidInput, match=message):
        Spec(checkpoint=str(tmp_path)).check(TEXT, PLAIN)


def test_refuses_pickled_or_absent_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidInput, match=r"needs a local folder with config.json and \*\.safetensors"):
            Spec(checkpoint=str(folder)).identity()


def test_refuses_a_checkpoint_that_lacks_weights(tmp_path: Path) -> None:
    """Transformers would draw the second block at random and only warn."""
    save_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layer": 2}))
    with pytest.raises(InvalidInput, match="lacks 12 of the weights"):
        Spec(checkpoint=str(tmp_path)).build(TEXT)
