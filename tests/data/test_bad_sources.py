"""Every input that cannot be used is refused with what was given, what is allowed and what to do."""

import gzip
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.source import SourceSpec

NAN = float("nan")
GREY = np.zeros((4, 5, 6), np.uint8)


class Case(NamedTuple):
    """A folder's content, the source opened in it, and what the message must say."""

    make: Callable[[Path], Any]
    source: dict[str, Any]
    says: list[str]


def nothing(folder: Path) -> None:
    pass


def npz(**arrays: Any) -> Callable[[Path], Any]:
    return lambda folder: np.savez(folder / "a.npz", allow_pickle=True, **arrays)


def file(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def parquet(**columns: Any) -> Callable[[Path], Any]:
    return lambda folder: pq.write_table(pa.table(columns), folder / "a.parquet")


def pictures(*sizes: tuple[int, int], modes: str = "LLL") -> Callable[[Path], Any]:
    def make(folder: Path) -> None:
        for row, size in enumerate(sizes):
            Image.new({"L": "L", "C": "RGB", "D": "I;16"}[modes[row]], size).save(folder / f"{row}.png")

    return make


def cut_npz(folder: Path) -> None:
    np.savez(folder / "whole.npz", x=np.zeros((50, 9, 9), np.uint8))
    (folder / "a.npz").write_bytes((folder / "whole.npz").read_bytes()[:-100])


def flipped_npz(folder: Path) -> None:
    np.savez(folder / "whole.npz", x=np.zeros((50, 9, 9), np.uint8))
    content = bytearray((folder / "whole.npz").read_bytes())
    content[1000] ^= 1
    (folder / "a.npz").write_bytes(content)


def gaps_in_vocabulary(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 7}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "a.txt").write_text("a b " * 100)


def text_and_tokenizer(content: bytes) -> Callable[[Path], Any]:
    def make(folder: Path) -> None:
        (folder / "a.txt").write_text("words " * 100)
        (folder / "tokenizer.json").write_bytes(content)

    return make


def images(path: str = "a.npz", **fields: Any) -> dict[str, Any]:
    return {"kind": "images", "path": path, **fields}


def text(path: str = "a.txt", **fields: Any) -> dict[str, Any]:
    return {"kind": "text", "path": path, **fields}


def csv(path: str = "a.csv", **fields: Any) -> dict[str, Any]:
    return {"kind": "csv", "path": path, **fields}


def table(path: str = "a.parquet", **fields: Any) -> dict[str, Any]:
    return {"kind": "parquet", "path": path, **fields}


IDX = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4])

CASES = {
    # Paths
    "images-missing": Case(nothing, images("no.npz"), ["path 'no.npz'", "does not exist", "working directory", "give"]),
    "text-missing": Case(nothing, text("no.txt"), ["path 'no.txt'", "does not exist"]),
    "csv-missing": Case(nothing, csv("no.csv"), ["path 'no.csv'", "does not exist"]),
    "parquet-missing": Case(nothing, table("no"), ["path 'no'", "does not exist"]),
    "holdout-missing": Case(npz(x=GREY), images(holdout="no.npz"), ["holdout 'no.npz'", "does not exist"]),
    "csv-is-a-folder": Case(nothing, csv("."), ["path '.'", "is a folder", "give a CSV file"]),
    "too-few": Case(npz(x=GREY), images(num_samples=5), ["num_samples is 5", "holds 4", "at most 4"]),
    # Arrays of images
    "npz-key": Case(npz(a=GREY, b=GREY), images(), ["no array x / images / arr_0", "it holds: a, b", "Set key"]),
    "npz-asked-key": Case(npz(x=GREY), images(key="y"), ["no array y", "it holds: x", "Set key"]),
    "npz-empty": Case(npz(x=GREY[:0]), images(), ["path 'a.npz'", "holds no samples"]),
    "npz-flat": Case(npz(x=np.zeros((4, 30), np.uint8)), images(), ["(4, 30)", "(N, H, W)", "reshape"]),
    "npz-channels-first": Case(npz(x=np.zeros((4, 3, 9, 9), np.uint8)), images(), ["(4, 3, 9, 9)", "C = 1 or 3"]),
    "npz-integers": Case(npz(x=GREY.astype(int)), images(), ["int64", "uint8, or floats in [0, 1]", "convert"]),
    "npz-range": Case(npz(x=GREY + 255.0), images(), ["from 255.0 to 255.0", "[0, 1]", "divide"]),
    "npz-nan": Case(npz(x=GREY * NAN), images(), ["nan", "[0, 1]"]),
    "npz-pickle": Case(npz(x=np.array([{}, {}])), images(), ["path 'a.npz'", "never pickled objects", "numpy.savez"]),
    "npz-text": Case(file("a.npz", b"hello"), images(), ["path 'a.npz'", "not an .npz archive", "numpy.savez"]),
    "npz-cut": Case(cut_npz, images(), ["path 'a.npz'", "cut short"]),
    "npz-flipped": Case(flipped_npz, images(), ["path 'a.npz'", "cannot be read", "CRC"]),
    "idx-cut": Case(file("a.idx", IDX + bytes(23)), images("a.idx"), ["(2, 3, 4), 24 bytes", "holds 23", "copy"]),
    "idx-labels": Case(
        file("l-idx1-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6])), images("l-idx1-ubyte"), ["(2,)", "(N, H, W)"]
    ),
    "idx-type": Case(file("a.idx", bytes([0, 0, 13, 3]) + IDX[4:]), images("a.idx"), ["unsigned bytes", "00 00 0d 03"]),
    "idx-header": Case(file("a.idx", IDX[:9]), images("a.idx"), ["unsigned bytes", "00 00 08 03", "give one"]),
    "idx-gzip": Case(file("a.idx.gz", gzip.compress(IDX)[:-9]), images("a.idx.gz"), ["not a whole gzip", "copy"]),
    "images-format": Case(file("a.tar", b""), images("a.tar"), ["'a.tar'", ".npz", "*-ubyte", "folder of PNG or JPEG"]),
    "images-differ": Case(
        lambda folder: (npz(x=GREY)(folder), np.savez(folder / "b.npz", x=GREY[:, :4])),
        images(holdout="b.npz"),
        ["holdout 'b.npz'", "(1, 4, 6)", "(1, 5, 6)", "set size"],
    ),
    # Folders of images
    "folder-empty": Case(nothing, images("."), ["holds no images", "found nothing", ".jpeg, .jpg, .png"]),
    "folder-of-text": Case(file("a.txt", b"x"), images("."), ["holds no images", "1 x .txt", ".png"]),
    "folder-ragged": Case(
        pictures((4, 5), (4, 5), (7, 5)), images("."), ["'2.png' is 5x7", "'0.png' is 5x4", "set size to resize"]
    ),
    "folder-modes": Case(
        pictures((4, 5), (4, 5), modes="LC"), images("."), ["'1.png' has 3 channel", "'0.png' has 1", "set channels"]
    ),
    "folder-deep": Case(pictures((4, 5), modes="D"), images("."), ["'0.png'", "I;16", "8 bits", "convert"]),
    "folder-fake": Case(file("a.png", b"no image"), images("."), ["'a.png' is not a PNG or JPEG image", "take it out"]),
    # Text
    "text-short": Case(file("a.txt", b"x" * 127), text(), ["'a.txt' holds 127 tokens", "context=128", "longer text"]),
    "text-empty": Case(file("a.txt", b""), text(tokenizer={"bpe": 300}), ["holds 0 tokens", "context=128"]),
    "text-latin": Case(
        file("a.txt", "café".encode("latin-1") * 99), text(), ["'a.txt' is not UTF-8", "0xe9 at offset 3", "convert"]
    ),
    "text-folder": Case(file("a.md", b"x" * 999), text("."), ["'.' is a folder without *.txt", "give a text file"]),
    "tokenizer-missing": Case(
        file("a.txt", b"x" * 999), text(tokenizer={"path": "gpt2"}), ["tokenizer.path 'gpt2'", "does not exist"]
    ),
    "tokenizer-no-json": Case(
        text_and_tokenizer(b"nonsense"),
        text(tokenizer={"path": "."}),
        ["tokenizer.path '.'", "is not", "save_pretrained"],
    ),
    "tokenizer-other-json": Case(
        text_and_tokenizer(json.dumps({"a": 1}).encode()),
        text(tokenizer={"path": "tokenizer.json"}),
        ["is not a token"],
    ),
    "tokenizer-folder": Case(
        file("a.txt", b"x" * 999),
        text(tokenizer={"path": "."}),
        ["tokenizer.path '.'", "without tokenizer.json", "save_pretrained"],
    ),
    "tokenizer-gaps": Case(
        gaps_in_vocabulary,
        text(tokenizer={"path": "tokenizer.json"}),
        ["2 entries", "the token 7", "[0, 2)", "without gaps"],
    ),
    # CSV
    "csv-empty": Case(file("a.csv", b""), csv(), ["path 'a.csv'", "separator ','", "skip_rows"]),
    "csv-header-only": Case(file("a.csv", b"a,b\n"), csv(), ["path 'a.csv'", "holds no samples"]),
    "csv-ragged": Case(file("a.csv", b"a,b\n1,2\n1,2,3\n"), csv(), ["Expected 2 fields in line 3, saw 3", "separator"]),
    "csv-latin": Case(file("a.csv", b"a\n\xe9\n"), csv(), ["path 'a.csv'", "UTF-8"]),
    "csv-no-names": Case(file("a.csv", b"1,2\n"), csv(header=False), ["without a header", "names for its 2 columns"]),
    "csv-names": Case(file("a.csv", b"1,2\n"), csv(header=False, names=["a"]), ["2 columns", "names gives 1"]),
    "csv-twice": Case(file("a.csv", b"a,a\n1,2\n"), csv(), ["more than one column named 'a'", "own name"]),
    "csv-short-line": Case(file("a.csv", b"a,b\n1,2\n3\n"), csv(), ["'b' (1) of 2 rows", "drop_missing: true"]),
    # Tables
    "column-unknown": Case(
        parquet(age=[1, 2], size=[1, 2]), table(columns=["aeg"]), ["no column 'aeg'", "did you mean 'age'", "age, size"]
    ),
    "column-twice": Case(parquet(a=[1, 2]), table(columns=["a", "a"]), ["columns names a column twice: a, a", "once"]),
    "categorical-unknown": Case(
        parquet(age=[1, 2]), table(categorical=["aeg"]), ["categorical names 'aeg'", "did you mean 'age'"]
    ),
    "column-missing": Case(
        parquet(a=[1.0, None, NAN], b=[1.0, 2.0, None]),
        table(),
        ["path 'a.parquet'", "'a' (2), 'b' (1) of 3 rows", "drop_missing: true"],
    ),
    "column-empty": Case(
        parquet(a=[1.0, 2.0], b=[NAN, None]),
        table(drop_missing=True),
        ["column 'b' has no value in any row", "leave it out"],
    ),
    "rows-all-incomplete": Case(
        parquet(a=[1.0, None], b=[None, 2.0]), table(drop_missing=True), ["every row has a missing value", "a, b"]
    ),
    "column-constant": Case(
        parquet(a=[0.1] * 7, b=range(7)),
        table(),
        ["column 'a' is 0.1 in every row", "leave it out of columns", "standardise: false"],
    ),
    "column-infinite": Case(
        parquet(a=[1.0, float("inf")]), table(standardise=False), ["column 'a' holds 1 infinite value", "finite"]
    ),
    "column-infinite-scaled": Case(
        parquet(a=[1.0, 2.0, float("-inf")]), table(), ["column 'a' holds 1 infinite value", "finite"]
    ),
    "column-dates": Case(
        parquet(a=[date(2020, 1, 1)]),
        table(columns=["a"]),
        ["column 'a' holds date values", "numbers, text", "convert"],
    ),
    "column-decimals": Case(parquet(a=[Decimal("1.5")]), table(columns=["a"]), ["holds decimal values", "convert"]),
    "column-lists": Case(parquet(a=[[1], [2]]), table(columns=["a"]), ["column 'a' holds mixed values", "allowed"]),
    "no-numbers": Case(parquet(a=["x"], b=["y"]), table(), ["no column of numbers", "set columns to some of: a, b"]),
    "holdout-level": Case(
        lambda folder: (file("a.csv", b"a\nx\ny\n")(folder), file("b.csv", b"a\nx.\n")(folder)),
        csv(holdout="b.csv", columns=["a"]),
        ["holdout 'b.csv'", "1 level(s)", "'x.'", "path has 'x', 'y'", "same levels"],
    ),
    "holdout-text": Case(
        lambda folder: (file("a.csv", b"a\n1\n2\n")(folder), file("b.csv", b"a\n?\n")(folder)),
        csv(holdout="b.csv"),
        ["holdout 'b.csv'", "column 'a' is not numbers", "same columns"],
    ),
    "holdout-column": Case(
        lambda folder: (file("a.csv", b"a\n1\n2\n")(folder), file("b.csv", b"b\n1\n")(folder)),
        csv(holdout="b.csv"),
        ["holdout 'b.csv'", "no column 'a'", "choices: b"],
    ),
    # Parquet
    "parquet-text": Case(file("a.parquet", b"hello world"), table(), ["path 'a.parquet'", "read as Parquet", "give"]),
    "parquet-rows": Case(parquet(a=pa.array([], pa.float64())), table(), ["'a.parquet'", "holds no samples"]),
    "parquet-folder": Case(file("a.csv", b""), table("."), ["'.' is a folder without *.parquet"]),
    "parquet-schemas": Case(
        lambda folder: (parquet(a=[1.0])(folder), pq.write_table(pa.table({"a": ["x"]}), folder / "b.parquet")),
        table("."),
        ["path '.'", "files of one schema"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_data(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as error:
        SourceSpec.resolve(case.source).open(0)
    assert [words for words in case.says if words not in str(error.value)] == [], str(error.value)


def test_broken_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    Image.effect_noise((32, 32), 50).save(tmp_path / "0.png")
    Image.effect_noise((32, 32), 50).save(tmp_path / "1.png")
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    rows = SourceSpec.resolve(images(str(tmp_path))).open(0).rows
    rows.read(0, 1)
    with pytest.raises(InvalidInput, match=r"1\.png' is broken \(.*replace it"):
        rows.read(0, 2)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (text(tokenizer={}), "path and bpe: neither given; give one of them, or tokenizer=bytes"),
        (text(tokenizer={"path": "a", "bpe": 300}), "path and bpe: both given"),
        (text(tokenizer={"bpe": 256}), "greater than 256"),
        (text(tokenizer="gpt2"), "'bytes'"),
        (text(context=1), "greater than or equal to 2"),
        (images(channels=2), "1 or 3"),
        (images(num_samples=0), "greater than or equal to 1"),
        (csv(separator=", "), "at most 1 character"),
        (table(columns=[]), "at least 1 item"),
        ({"kind": "normal", "std": 0}, "greater than 0"),
        ({"kind": "normal", "mean": NAN}, "finite number"),
        ({"kind": "csv"}, "path"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_bad_settings(source: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SourceSpec.resolve(source)
