"""Models of Hugging Face transformers that lie in a folder of this machine."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from collapse_ray.config.errors import InvalidInput

ATTENTION = "sdpa"
"""torch's scaled_dot_product_attention: flash or fused kernels on GPU and on CPU."""


def check_checkpoint(folder: str, vocab_size: int, length: int) -> None:
    """Whether a checkpoint can model sequences of `length` tokens below `vocab_size`; reads its config only.

    Raises:
        InvalidInput: it cannot, or it is not a checkpoint.
    """
    _checkpoint_files(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    context = getattr(config, "max_position_embeddings", None)
    if config.vocab_size < vocab_size:
        raise InvalidInput(
            f"transformer.checkpoint={folder}: it knows {config.vocab_size} tokens, the data has {vocab_size}; "
            "tokenise the data with the checkpoint's own tokenizer"
        )
    if context is not None and context < length:
        raise InvalidInput(
            f"transformer.checkpoint={folder}: it reads at most {context} tokens, a sample has {length}; "
            "cut the data into shorter samples"
        )
    if start_token(config) is None:
        raise InvalidInput(
            f"transformer.checkpoint={folder}: its config.json has neither bos_token_id nor eos_token_id, so no token "
            "can start a sequence; set bos_token_id there"
        )


def checkpoint_digest(folder: str) -> str:
    """SHA-256 over the names and contents of config and weights.

    Raises:
        InvalidInput: the folder is not a checkpoint.
    """
    states = [(path, path.stat()) for path in _checkpoint_files(folder)]
    parts = [f"{path.name} {_file_digest(path, state.st_size, state.st_mtime_ns)}" for path, state in states]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_model(folder: str) -> PreTrainedModel:
    """A model in float32, from this machine's disk and from safetensors only.

    Raises:
        InvalidInput: the files lack weights, which transformers would draw at random.
    """
    with quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise InvalidInput(
            f"{folder} lacks {len(report['missing_keys'])} of the weights its config.json asks for ({missing}, ...); "
            "give the folder of a whole causal language model"
        )
    return model


def outline_of(folder: str) -> PreTrainedModel:
    """A checkpoint's model on torch's meta device; reads its config only."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with quiet(), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def start_token(config: PreTrainedConfig) -> int | None:
    """The token that precedes every sequence: GPT-2 and others separate documents by eos and have no other bos."""
    for token in (config.bos_token_id, config.eos_token_id):
        if token is not None:
            return token[0] if isinstance(token, list) else token
    return None


def _checkpoint_files(folder: str) -> tuple[Path, ...]:
    """config.json and the weights.

    Raises:
        InvalidInput: either is absent.
    """
    config = Path(folder) / "config.json"
    weights = sorted(Path(folder).glob("*.safetensors*"))
    if not config.is_file() or not weights:
        raise InvalidInput(
            f"transformer.checkpoint={folder}: needs a local folder with config.json and *.safetensors "
            "(pickled weights are not read); save the model there with save_pretrained()"
        )
    return config, *weights


@cache
def _file_digest(path: Path, num_bytes: int, modified_ns: int) -> str:
    """Reads gigabytes, hence once for each state of the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and advice that transformers prints when it makes, loads or saves a model."""
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()
