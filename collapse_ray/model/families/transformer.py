"""Decoder-only language models of Hugging Face transformers, from a size or from a local checkpoint."""

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    GPT2Config,
    LlamaConfig,
    LogitsProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.config.spec import Json
from collapse_ray.model.family import FamilySpec, Generator, SamplingSpec
from collapse_ray.model.pretrained import (
    ATTENTION,
    check_checkpoint,
    checkpoint_digest,
    load_model,
    outline_of,
    quiet,
    start_token,
)


class Spec(FamilySpec):
    """Size of a model with random weights, or a checkpoint to start from.

    A model with random weights has one token more than the payload, the start token: its id is the payload's
    vocab_size.
    """

    located: ClassVar[frozenset[str]] = frozenset({"checkpoint"})

    architecture: Literal["gpt2", "llama"] = "gpt2"
    """GPT-2 (Radford et al. 2019) or Llama (Touvron et al. 2023)."""
    num_layers: PositiveInt = 4
    """Transformer blocks."""
    num_heads: PositiveInt = 4
    """Attention heads; divides hidden_size."""
    hidden_size: PositiveInt = 128
    """Width of the residual stream."""
    ffn_size: PositiveInt | None = None
    """Width inside the feed-forward blocks. None: 4 hidden_size (gpt2); 8/3 hidden_size rounded up to a multiple of 8
    (llama, whose gated block then has as many weights)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On embeddings, attention and residuals (gpt2); on attention (llama, which has no other)."""
    tie_embeddings: bool = True
    """The output layer shares its weights with the token embedding."""
    checkpoint: str | None = None
    """Folder of a local model to start from (config.json and *.safetensors), in place of all the sizes above. Its
    content, not its path, is part of the identity. Sequences start with its bos (or else eos) token."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.checkpoint is not None:
            fields = type(self).model_fields.items()
            sizes = [n for n, field in fields if n != "checkpoint" and getattr(self, n) != field.default]
            if sizes:
                raise ValueError(
                    f"checkpoint={self.checkpoint!r} brings its own size: leave {', '.join(sizes)} out, or checkpoint"
                )
        per_head = 2 if self.architecture == "llama" else 1  # rotary embeddings turn pairs of dimensions
        if self.hidden_size % (per_head * self.num_heads):
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of {per_head} * num_heads = "
                f"{per_head * self.num_heads} for {self.architecture}; change either"
            )
        return self

    def identity(self) -> dict[str, Json]:
        """The sizes, or the digest of the checkpoint.

        Raises:
            InvalidInput: the checkpoint's folder does not hold a model.
        """
        if self.checkpoint is None:
            return super().identity()
        return {"kind": self.kind, "checkpoint_sha256": checkpoint_digest(self.checkpoint)}

    def check(self, payload: Payload, sampling: SamplingSpec) -> None:
        if payload.kind != "tokens" or payload.vocab_size is None:
            raise InvalidInput(
                f"the family 'transformer' cannot model a payload of kind '{payload.kind}': it models tokens; "
                "choose another source or another family"
            )
        if self.checkpoint is not None:
            check_checkpoint(self.checkpoint, payload.vocab_size, payload.shape[0])

    def build(self, payload: Payload) -> "Transformer":
        assert payload.vocab_size is not None, "check() was not called"
        if self.checkpoint is None:
            with quiet():
                model = AutoModelForCausalLM.from_config(self._config(payload), attn_implementation=ATTENTION)
            # For those who call `generate` of transformers on the artifact: training never sees this logit.
            model.generation_config.suppress_tokens = [payload.vocab_size]
        else:
            model = load_model(self.checkpoint)
        start = start_token(model.config)
        assert start is not None, "check() was not called"
        return Transformer(model, payload.vocab_size, payload.shape[0], start)

    def outline(self, payload: Payload) -> nn.Module:
        if self.checkpoint is None:
            return super().outline(payload)
        return outline_of(self.checkpoint)

    def _config(self, payload: Payload) -> PreTrainedConfig:
        assert payload.vocab_size is not None
        if self.architecture == "gpt2":
            return GPT2Config(
                vocab_size=payload.vocab_size + 1,
                bos_token_id=payload.vocab_size,
                eos_token_id=None,
                tie_word_embeddings=self.tie_embeddings,
                n_positions=payload.shape[0],
                n_embd=self.hidden_size,
                n_layer=self.num_layers,
                n_head=self.num_heads,
                n_inner=self.ffn_size,
                activation_function="gelu_pytorch_tanh",  # the same function as gelu_new in one kernel
                embd_pdrop=self.dropout,
                attn_pdrop=self.dropout,
                resid_pdrop=self.dropout,
            )
        return LlamaConfig(
            vocab_size=payload.vocab_size + 1,
            bos_token_id=payload.vocab_size,
            eos_token_id=None,
            tie_word_embeddings=self.tie_embeddings,
            max_position_embeddings=payload.shape[0],
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.ffn_size or math.ceil(self.hidden_size / 3) * 8,
            attention_dropout=self.dropout,
        )


class Transformer(Generator):
    """A causal LM over sequences of exactly T tokens.

    Each sequence is preceded by a start token, so all T tokens are predicted. The softmax is over the payload's
    vocabulary alone: an id beyond it (the start token of a model built here) has no probability, neither in
    the loss nor in sampling, so that the loss is that of the distribution which is sampled.
    """

    def __init__(self, model: PreTrainedModel, vocab_size: int, length: int, start: int) -> None:
        super().__init__()
        self.model = model
        self.vocab_size = vocab_size
        self.length = length
        self.start = start

    def forward(self, payload: Tensor) -> Tensor:
        """Cross-entropy in nats per token: (B, T) -> (B,)."""
        target = payload.long()
        start = target.new_full((len(target), 1), self.start)
        logits = self.model(torch.cat([start, target[:, :-1]], dim=1), use_cache=False).logits
        predicted = logits[..., : self.vocab_size].float()  # (B, T, V)
        return cross_entropy(predicted.flatten(0, 1), target.flatten(), reduction="none").view_as(target).mean(1)

    def draw_noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """One uniform number in (0, 1] per token."""
        return torch.from_numpy(np.stack([1 - generator.random(self.length) for generator in generators]))

    def sample(self, noise: Tensor, sampling: SamplingSpec) -> np.ndarray:
        """Token by token with a key-value cache; each is the inverse distribution function at its uniform number."""
        warpers = _warpers(sampling)
        token = torch.full((len(noise), 1), self.start, device=noise.device)
        past = DynamicCache(config=self.model.config)
        tokens: list[Tensor] = []
        for uniform in noise.split(1, dim=1):
            output = self.model(token, past_key_values=past, use_cache=True)
            logits = output.logits[:, -1, : self.vocab_size].float()
            for warp in warpers:
                logits = warp(token, logits)
            # Double, or rounding of the sum would move the probabilities of rare tokens. As the number is in (0, 1],
            # the token found is one of positive probability.
            cumulative = logits.softmax(-1).double().cumsum(-1)
            token = torch.searchsorted(cumulative, uniform * cumulative[:, -1:])
            tokens.append(token)
        return torch.cat(tokens, dim=1).int().cpu().numpy()

    def enable_activation_checkpointing(self) -> None:
        self.model.activation_checkpointing_enable()

    def to_files(self) -> dict[str, bytes]:
        """The folder that `transformers.AutoModelForCausalLM.from_pretrained` loads."""
        with TemporaryDirectory() as folder, quiet():
            self.model.save_pretrained(folder)
            return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}

    def from_files(self, files: dict[str, bytes]) -> None:
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.model.load_state_dict(load_model(folder).state_dict())


def _warpers(sampling: SamplingSpec) -> list[LogitsProcessor]:
    """What transformers' `generate` would apply, in its order."""
    warpers: list[LogitsProcessor] = []
    if sampling.temperature != 1:
        warpers.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k is not None:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers
