"""From text to tokens: bytes, a tokenizer the user has, or one trained on the training text."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import Field, model_validator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Json, Spec
from collapse_ray.data.file_source import locate
from collapse_ray.data.text import BYTE_VOCAB, byte_tokens

TOKENIZER = "tokenizer.json"
LINES_AT_ONCE = 20_000


class Encoder(Protocol):
    """A tokenizer that is ready for use."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def content(self) -> dict[str, Json]:
        """What enters the identity."""
        ...

    @property
    def files(self) -> dict[str, bytes]:
        """What must be kept to decode the tokens."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """The tokens of a text: integers (num_tokens,)."""
        ...


@dataclass(frozen=True)
class ByteEncoder:
    """One token for each byte."""

    vocab_size: int = BYTE_VOCAB
    content: dict[str, Json] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def encode(self, text: str) -> np.ndarray:
        return byte_tokens(text)


class FastEncoder:
    """A tokenizer of the `tokenizers` library, kept as its tokenizer.json."""

    def __init__(self, serialised: bytes) -> None:
        self._tokenizer = Tokenizer.from_str(serialised.decode())
        # A tokenizer.json may carry the truncation and padding it was last used with; both would corrupt a stream.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        self.content: dict[str, Json] = {"tokenizer": hashlib.sha256(serialised).hexdigest()}
        self.files = {TOKENIZER: serialised}

    def encode(self, text: str) -> np.ndarray:
        """Encodes line by line, as transformers' run_clm does, without adding special tokens."""
        lines = _lines(text)
        pieces = [np.empty(0, dtype=np.int32)]
        for start in range(0, len(lines), LINES_AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(
                lines[start : start + LINES_AT_ONCE], add_special_tokens=False
            )
            pieces += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        tokens = np.concatenate(pieces)
        if tokens.size and tokens.max() >= self.vocab_size:
            raise InvalidInput(
                f"tokenizer.path: the tokenizer has {self.vocab_size} entries, but gave the token {tokens.max()}; "
                f"tokens must lie in [0, {self.vocab_size}): give one whose vocabulary is numbered without gaps"
            )
        return tokens


class TokenizerSpec(Spec):
    """A tokenizer other than bytes: exactly one field is set."""

    located: ClassVar[frozenset[str]] = frozenset({"path"})

    path: str | None = None
    """A tokenizer.json, or a folder in Hugging Face's layout; read from disk only, never from the hub."""
    bpe: int | None = Field(default=None, gt=BYTE_VOCAB)
    """Vocabulary size of a byte-level BPE trained on the whole text of `path`, never on a file of test data."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.bpe is None):
            given = "neither" if self.path is None else "both"
            raise ValueError(f"path and bpe: {given} given; give one of them, or tokenizer=bytes")
        return self


def make_encoder(tokenizer: Literal["bytes"] | TokenizerSpec, training_text: str) -> Encoder:
    """The tokenizer, trained where it must be.

    Raises:
        InvalidInput: its `path` holds no tokenizer.
    """
    if tokenizer == "bytes":
        return ByteEncoder()
    if tokenizer.path is not None:
        return FastEncoder(_read_tokenizer(tokenizer.path))
    assert tokenizer.bpe is not None
    return FastEncoder(train_bpe(training_text, tokenizer.bpe))


def train_bpe(text: str, vocab_size: int) -> bytes:
    """The tokenizer.json of a byte-level BPE (Radford et al. 2019): lossless, and the same bytes for the same text.

    A text with too few distinct pairs gives a smaller vocabulary than asked for.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_lines(text), trainer)
    return tokenizer.to_str().encode()


def _lines(text: str) -> list[str]:
    """The lines of a text with their ends; only a newline character ends one, and joining them gives the text."""
    return list(io.StringIO(text, newline="\n"))


def _read_tokenizer(given: str) -> bytes:
    path = locate("tokenizer.path", given)
    if path.is_dir() and not (path / TOKENIZER).exists():
        return _convert_folder(given, path)
    file = path / TOKENIZER if path.is_dir() else path
    serialised = file.read_bytes()
    try:
        Tokenizer.from_str(serialised.decode())
    except Exception as error:  # the library raises a bare Exception for every kind of bad file
        raise InvalidInput(
            f"tokenizer.path {given!r}: {file.name} is not a tokenizer.json ({error}); "
            "give a file that tokenizers.Tokenizer.save or transformers' save_pretrained wrote"
        ) from error
    return serialised


def _convert_folder(given: str, path: Path) -> bytes:
    """The tokenizer.json of a folder in one of the older layouts (vocab.json and merges.txt, a SentencePiece model)."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes seconds, for these folders only

    try:
        loaded = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"tokenizer.path {given!r} is a folder without {TOKENIZER} that transformers cannot read "
            f"({str(error).splitlines()[0]}); give a folder written by save_pretrained"
        ) from error
    if not loaded.is_fast:
        raise InvalidInput(
            f"tokenizer.path {given!r} holds a {type(loaded).__name__}, which has no {TOKENIZER} form; "
            "give a folder with a fast tokenizer"
        )
    return loaded.backend_tokenizer.to_str().encode()
