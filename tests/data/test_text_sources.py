"""Sources of text against what is known of their data."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from opened_sources import opened, sha256, whole
from tokenizers import Tokenizer


def test_wikitext_begins_with_its_first_characters(shared_data: Path) -> None:
    path = shared_data / "wikitext-2" / "test.txt"
    data = opened("text", path=path, holdout=shared_data / "wikitext-2" / "valid.txt", context=256)
    assert whole(data.rows)[0].astype(np.uint8).tobytes() == path.read_bytes()[:256]
    assert len(data.rows) == path.stat().st_size // 256
    assert data.payload.vocab_size == 256
    assert data.content["path"] == sha256(path)


PROSE = "Größe, naïve — 日本語 🙂\r\n\n  two  spaces\tand tabs\x0b \u2028 end.\n" * 40 + "the lower newer widest " * 50


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    (tmp_path / "prose.txt").write_bytes(PROSE.encode())
    return tmp_path / "prose.txt"


def test_bytes_are_the_utf8_form(prose: Path) -> None:
    tokens = whole(opened("text", path=prose, context=2).rows).reshape(-1)
    assert tokens.astype(np.uint8).tobytes() == PROSE.encode()[: len(tokens)]


def test_bpe_decodes_to_the_text(prose: Path) -> None:
    data = opened("text", path=prose, context=2, tokenizer={"bpe": 300})
    assert data.payload.vocab_size == 300
    tokens = whole(data.rows).reshape(-1)
    assert len(tokens) < len(PROSE.encode()) / 2
    tokenizer = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    # The last token may have been dropped: it does not fill a block.
    assert PROSE.startswith(tokenizer.decode(tokens.tolist()).rstrip("\ufffd"))
    assert len(PROSE) - len(tokenizer.decode(tokens.tolist())) < 20


@pytest.mark.slow
def test_bpe_is_the_same_in_every_process(prose: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hashlib import sha256;"
        "from collapse_ray.data.tokenizer import train_bpe;"
        "print(sha256(train_bpe(Path(sys.argv[1]).read_bytes().decode(), 330)).hexdigest())"
    )
    env = [os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads} for threads in ("1", "3")]
    runs = [
        subprocess.run([sys.executable, "-c", script, prose], env=one, capture_output=True, text=True, check=True)
        for one in env
    ]
    here = opened("text", path=prose, tokenizer={"bpe": 330}).files["tokenizer.json"]
    assert {run.stdout.strip() for run in runs} == {hashlib.sha256(here).hexdigest()}


def test_bpe_is_trained_on_the_training_text_only(tmp_path: Path, prose: Path) -> None:
    (tmp_path / "other.txt").write_text("zyx " * 500)
    alone = opened("text", path=prose, tokenizer={"bpe": 300})
    beside = opened("text", path=prose, holdout=tmp_path / "other.txt", tokenizer={"bpe": 300})
    assert alone.files == beside.files


@pytest.fixture
def local_tokenizer(tmp_path: Path, prose: Path) -> Path:
    """A tokenizer.json that was last used with truncation and padding."""
    tokenizer = Tokenizer.from_str(opened("text", path=prose, tokenizer={"bpe": 290}).files["tokenizer.json"].decode())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=10)
    (tmp_path / "local").mkdir()
    tokenizer.save(str(tmp_path / "local" / "tokenizer.json"))
    return tmp_path / "local"


def test_local_tokenizer_gives_the_whole_text(local_tokenizer: Path, prose: Path) -> None:
    trained = opened("text", path=prose, tokenizer={"bpe": 290})
    of_folder = opened("text", path=prose, tokenizer={"path": str(local_tokenizer)})
    of_file = opened("text", path=prose, tokenizer={"path": str(local_tokenizer / "tokenizer.json")})
    np.testing.assert_array_equal(whole(of_folder.rows), whole(trained.rows))
    assert of_folder.content == of_file.content
    assert of_folder.content["tokenizer"] == sha256(local_tokenizer / "tokenizer.json")


def test_folder_with_vocabulary_and_merges_is_converted(tmp_path: Path, prose: Path) -> None:
    trained = opened("text", path=prose, tokenizer={"bpe": 290})
    older = tmp_path / "older"
    older.mkdir()
    model = json.loads(trained.files["tokenizer.json"])["model"]
    (older / "vocab.json").write_text(json.dumps(model["vocab"]))
    (older / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"]))
    (older / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    converted = opened("text", path=prose, tokenizer={"path": str(older)})
    np.testing.assert_array_equal(whole(converted.rows), whole(trained.rows))


def test_folder_of_text_files_is_joined_in_order(tmp_path: Path) -> None:
    for name, text in (("b.txt", "cd"), ("a.txt", "ab"), ("notes.md", "zz")):
        (tmp_path / name).write_text(text)
    assert whole(opened("text", path=tmp_path, context=4).rows).tolist() == [[97, 98, 99, 100]]
