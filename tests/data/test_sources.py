"""Each source against what is known of its data."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits
from tokenizers import Tokenizer

from collapse_ray.data.source import RealData, Rows, SourceSpec

ADULT = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "income",
]


def opened(kind: str, seed: int = 0, **fields: Any) -> RealData:
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    return SourceSpec.resolve({"kind": kind, **fields}).open(seed)


def whole(rows: Rows | None) -> np.ndarray:
    assert rows is not None
    return rows.read(0, len(rows))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Embedded -------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn() -> None:
    images = whole(opened("digits").rows)
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    levels = np.rint(images / 255 * 16).reshape(1797, 64)
    np.testing.assert_array_equal(levels, load_digits(return_X_y=True)[0])


def test_pydoc_is_the_text_of_the_topics_in_order() -> None:
    data = opened("pydoc", context=64)
    text = whole(data.rows).astype(np.uint8).tobytes().decode(errors="ignore")
    first = topics[min(topics)]
    assert text.startswith(first)
    assert topics[max(topics)][:200] in text
    total = sum(len(topic.encode()) for topic in topics.values()) + 2 * (len(topics) - 1)
    assert len(data.rows) == total // 64


# Analytic -------------------------------------------------------------------------------------


def test_normal_numbers_have_the_distribution() -> None:
    numbers = whole(opened("normal", num_samples=2000, dimension=5, mean=3.0, std=0.5).rows)
    for column in numbers.T:
        assert stats.kstest(column, stats.norm(3, 0.5).cdf).pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate([numbers[:-1], numbers[1:]], axis=1).T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_a_normal_row_depends_on_seed_and_number_only() -> None:
    few, many = opened("normal", num_samples=300), opened("normal", num_samples=1000)
    np.testing.assert_array_equal(whole(few.rows), many.rows.read(0, 300))
    np.testing.assert_array_equal(many.rows.read(250, 530), whole(many.rows)[250:530])
    assert not np.isin(whole(opened("normal", seed=1).rows), whole(many.rows)).any()


def test_replicas_are_independent_rows_of_the_payload() -> None:
    data = opened("normal", num_samples=400, dimension=2, replicas=3)
    assert data.payload.shape == (3, 2)
    flat = whole(data.rows).reshape(400, 6)
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 5 / np.sqrt(400)


# Images ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mnist_has_its_published_mean_and_std(shared_data: Path) -> None:
    folder = shared_data / "mnist"
    data = opened("images", path=folder / "mnist_train.npz", holdout=folder / "mnist_test.npz")
    images = whole(data.rows)
    assert images.shape == (60_000, 1, 28, 28)
    assert whole(data.holdout).shape == (10_000, 1, 28, 28)
    assert images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert data.content["path"] == sha256(folder / "mnist_train.npz")


@pytest.fixture
def colours() -> np.ndarray:
    """Images (N, H, W, C)."""
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)


def test_npz_of_colour_images_is_channels_first(tmp_path: Path, colours: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=colours, labels=np.arange(6))
    images = whole(opened("images", path=tmp_path / "a.npz").rows)
    np.testing.assert_array_equal(images, np.moveaxis(colours, 3, 1))


def test_npz_of_floats_is_scaled(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", grey=np.array([[[0.0, 1 / 255]], [[0.5, 1.0]]], np.float32))
    images = whole(opened("images", path=tmp_path / "a.npz", key="grey").rows)
    assert images[:, 0, 0].tolist() == [[0, 1], [128, 255]]


def test_num_samples_takes_the_first(tmp_path: Path, colours: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", colours)
    data = opened("images", path=tmp_path / "a.npz", holdout=tmp_path / "a.npz", num_samples=2)
    np.testing.assert_array_equal(whole(data.rows), np.moveaxis(colours[:2], 3, 1))
    assert len(whole(data.holdout)) == 6


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train.idx", "train-images-idx3-ubyte.gz", "train.idx.gz"])
def test_idx(tmp_path: Path, name: str) -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + pixels.tobytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    np.testing.assert_array_equal(whole(opened("images", path=tmp_path / name).rows), pixels[:, None])


@pytest.fixture
def folder(tmp_path: Path, colours: np.ndarray) -> Path:
    """Colour images in two folders, named so that their order by path is 0 to 5, beside a file that is none."""
    for row, image in enumerate(colours):
        below = tmp_path / "images" / ("cat" if row < 4 else "dog")
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(below / f"{row}.png")
    (tmp_path / "images" / "LICENSE").write_text("free")
    return tmp_path / "images"


def test_folder_of_images_is_read_in_the_order_of_paths(folder: Path, colours: np.ndarray) -> None:
    data = opened("images", path=folder, num_samples=5)
    np.testing.assert_array_equal(whole(data.rows), np.moveaxis(colours[:5], 3, 1))
    np.testing.assert_array_equal(data.rows.read(2, 4), np.moveaxis(colours[2:4], 3, 1))


def test_content_of_a_folder_changes_with_any_image_taken(folder: Path) -> None:
    before = opened("images", path=folder).content
    first_four = opened("images", path=folder, num_samples=4).content
    Image.new("RGB", (4, 5)).save(folder / "dog" / "5.png")
    assert opened("images", path=folder).content != before
    assert opened("images", path=folder, num_samples=4).content == first_four


def test_folder_is_resized_and_made_grey(folder: Path, colours: np.ndarray) -> None:
    Image.new("L", (9, 9), 200).save(folder / "zebra.jpg")
    data = opened("images", path=folder, size=8, channels=1)
    assert data.payload.shape == (1, 8, 8)
    images = whole(data.rows)
    assert (images[-1] == 200).all()
    grey = Image.fromarray(colours[0]).convert("L").resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images[0, 0], np.asarray(grey))


def test_arrays_are_converted_as_files_are(tmp_path: Path, folder: Path, colours: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", colours)
    of_files = opened("images", path=folder, size=3, channels=1)
    of_array = opened("images", path=tmp_path / "a.npz", size=3, channels=1)
    np.testing.assert_array_equal(whole(of_array.rows), whole(of_files.rows))


# Text -----------------------------------------------------------------------------------------


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


# Tables ---------------------------------------------------------------------------------------


def adult(shared_data: Path, **fields: Any) -> RealData:
    folder = shared_data / "adult"
    options = {"header": False, "names": ADULT, "missing": ["?"], "comment": "|", "strip": "."}
    return opened("csv", path=folder / "adult.data", holdout=folder / "adult.test", **options, **fields)


def test_adult_has_its_published_rows_and_moments(shared_data: Path) -> None:
    data = adult(shared_data, columns=["age", "hours_per_week", "sex", "income"], standardise=False)
    rows, holdout = whole(data.rows), whole(data.holdout)
    assert rows.shape == (32_561, 6)
    assert holdout.shape == (16_281, 6)
    assert rows.mean(axis=0) == pytest.approx([38.5816, 40.4375, 0.33079, 0.66921, 0.75919, 0.24081], abs=1e-4)
    columns = json.loads(data.files["columns.json"])
    assert columns[2:] == [
        {"kind": "one_hot", "name": "sex", "levels": ["Female", "Male"]},
        {"kind": "one_hot", "name": "income", "levels": ["<=50K", ">50K"]},
    ]


@pytest.mark.slow
def test_adult_without_its_incomplete_rows(shared_data: Path) -> None:
    data = adult(shared_data, columns=ADULT, drop_missing=True)
    assert (len(data.rows), len(whole(data.holdout))) == (30_162, 15_060)  # as adult.names counts them


def test_adult_test_alone_with_skipped_line(shared_data: Path) -> None:
    data = opened("csv", path=shared_data / "adult" / "adult.test", header=False, names=ADULT, skip_rows=1)
    assert whole(data.rows).shape == (16_281, 6)  # the six columns of numbers


TABLE = pa.table({"x": [1.0, 2.0, 6.0], "code": [3, 1, 3], "yes": [True, False, True], "name": ["b", "a", "b"]})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_vectors_by_hand(table: Path) -> None:
    data = opened("parquet", path=table, columns=["name", "x", "yes", "code"], categorical=["code"])
    std = np.sqrt(14 / 3)
    expected = [
        [0, 1, -2 / std, 0, 1, 0, 1],
        [1, 0, -1 / std, 1, 0, 1, 0],
        [0, 1, 3 / std, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(whole(data.rows), expected)


def test_default_is_every_column_of_numbers(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = opened("parquet", path=table, standardise=False)
    assert whole(data.rows).tolist() == [[1, 3], [2, 1], [6, 3]]
    assert "left out the columns that are not numbers: yes, name" in caplog.text


def test_holdout_is_scaled_by_the_training_rows(tmp_path: Path, table: Path) -> None:
    pq.write_table(pa.table({"x": [3.0]}), tmp_path / "test.parquet")
    data = opened("parquet", path=table, holdout=tmp_path / "test.parquet", columns=["x"])
    assert whole(data.holdout).tolist() == [[0.0]]


def test_num_samples_are_taken_after_incomplete_rows_and_before_the_scale(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([None, 1, 3, 100])}), tmp_path / "a.parquet")
    data = opened("parquet", path=tmp_path / "a.parquet", drop_missing=True, num_samples=2)
    assert whole(data.rows).tolist() == [[-1.0], [1.0]]


def test_parquet_folder_is_read_in_the_order_of_paths(tmp_path: Path) -> None:
    for year, x in ((2021, [3.0]), (2020, [1.0, 2.0])):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table({"x": x}), tmp_path / f"year={year}" / "part.parquet")
    (tmp_path / "record.json").write_text("{}")
    data = opened("parquet", path=tmp_path, columns=["x", "year"], standardise=False, categorical=["year"])
    assert whole(data.rows).tolist() == [[1, 1, 0], [2, 1, 0], [3, 0, 1]]


def test_csv_of_another_dialect(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf# made by hand\n"a" ; b\n1 ; " u"\n 2.5;v \n\n-1e3;-\n')
    options: dict[str, Any] = {"separator": ";", "skip_rows": 1, "missing": ["-"], "standardise": False}
    data = opened("csv", path=tmp_path / "a.csv", columns=["a", "b"], drop_missing=True, **options)
    assert whole(data.rows).tolist() == [[1, 1, 0], [2.5, 0, 1]]


def test_compressed_csv_is_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\n1\n2\n"))
    assert whole(opened("csv", path=tmp_path / "a.csv.gz").rows).tolist() == [[-1.0], [1.0]]


# Paths ----------------------------------------------------------------------------------------


def test_relative_path_starts_at_the_working_directory(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    shutil.move(table, tmp_path / "below" / "moved.parquet")
    monkeypatch.chdir(tmp_path)
    assert len(opened("parquet", path="below/moved.parquet").rows) == 3
