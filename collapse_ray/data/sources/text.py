"""Text files, cut into blocks of tokens."""

from typing import Literal

from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.config.spec import Json
from collapse_ray.data.file_source import FileSource, checksum
from collapse_ray.data.source import RealData
from collapse_ray.data.text import TokenRows, read_text, text_files
from collapse_ray.data.tokenizer import Encoder, TokenizerSpec, make_encoder


class Spec(FileSource):
    """UTF-8 text: a file, or a folder whose *.txt files are joined in the order of their names.

    Blocks do not overlap; tokens after the last whole block are dropped.
    """

    tokenizer: Literal["bytes"] | TokenizerSpec = "bytes"
    """`bytes`; `{path: ...}`, a tokenizer.json or the folder of one; or `{bpe: VOCABULARY_SIZE}`, trained here."""
    context: int = Field(default=128, ge=2)
    """Tokens of a sample."""

    def open(self, seed: int) -> RealData:
        files = text_files("path", self.path)
        text = read_text("path", files)
        encoder = make_encoder(self.tokenizer, text)
        rows = self._rows("path", self.path, text, encoder)
        content: dict[str, Json] = {"path": checksum(files), **encoder.content}
        holdout = None
        if self.holdout is not None:
            holdout_files = text_files("holdout", self.holdout)
            holdout = self._rows("holdout", self.holdout, read_text("holdout", holdout_files), encoder)
            content["holdout"] = checksum(holdout_files)
        return RealData(
            payload=Payload("tokens", (self.context,), vocab_size=encoder.vocab_size),
            rows=rows.first(self.limit(len(rows))),
            holdout=holdout,
            content=content,
            files=encoder.files,
        )

    def _rows(self, field: str, given: str, text: str, encoder: Encoder) -> TokenRows:
        tokens = encoder.encode(text)
        if len(tokens) < self.context:
            raise InvalidInput(
                f"{field} {given!r} holds {len(tokens)} tokens, fewer than one block of context={self.context}; "
                "give a longer text or a smaller context"
            )
        return TokenRows(tokens, self.context)
