"""Text as rows of tokens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.file_source import locate

BYTE_VOCAB = 256


@dataclass(frozen=True)
class TokenRows:
    """Consecutive blocks of `context` tokens that do not overlap; the tokens after the last whole block are dropped.

    `tokens` is (num_tokens,) of any integer dtype, so that bytes stay bytes until they are read.
    """

    tokens: np.ndarray
    context: int

    def __len__(self) -> int:
        return len(self.tokens) // self.context

    def read(self, start: int, stop: int) -> np.ndarray:
        stop = min(stop, len(self))
        block = self.tokens[start * self.context : stop * self.context]
        return block.reshape(-1, self.context).astype(np.int32)

    def first(self, num_rows: int) -> "TokenRows":
        """The first rows only."""
        return TokenRows(self.tokens[: num_rows * self.context], self.context)


def byte_tokens(text: str) -> np.ndarray:
    """One token for each byte of the UTF-8 form: uint8 (num_bytes,)."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def text_files(field: str, given: str) -> list[Path]:
    """The file itself, or the *.txt files of a folder, sorted by name.

    Raises:
        InvalidInput: nothing there, or a folder without text files.
    """
    path = locate(field, given)
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.txt"))
    if not files:
        raise InvalidInput(f"{field} {given!r} is a folder without *.txt files; give a text file, or a folder of them")
    return files


def read_text(field: str, files: list[Path]) -> str:
    """The files joined, line ends untouched.

    Raises:
        InvalidInput: a file is not UTF-8.
    """
    return "".join(_decode(field, path) for path in files)


def _decode(field: str, path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{field}: {str(path)!r} is not UTF-8 text (byte {content[error.start]:#04x} at offset {error.start}); "
            "convert it to UTF-8 first"
        ) from error
