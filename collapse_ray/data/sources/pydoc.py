"""The topics of Python's own help(): about 700 kB of English technical prose, installed with the interpreter."""

import hashlib
from pydoc_data.topics import topics

from pydantic import Field

from collapse_ray.config.payload import Payload
from collapse_ray.data.source import RealData, SourceSpec
from collapse_ray.data.text import BYTE_VOCAB, TokenRows, byte_tokens


class Spec(SourceSpec):
    """Bytes of the topics, sorted by name and set apart by an empty line."""

    context: int = Field(default=128, ge=2)
    """Tokens (bytes) of a sample."""

    def open(self, seed: int) -> RealData:
        text = "\n\n".join(topics[name] for name in sorted(topics))
        return RealData(
            payload=Payload("tokens", (self.context,), vocab_size=BYTE_VOCAB),
            rows=TokenRows(byte_tokens(text), self.context),
            content={"text": hashlib.sha256(text.encode()).hexdigest()},  # differs between versions of Python
        )
