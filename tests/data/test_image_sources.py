"""Sources of images against what is known of their data."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from opened_sources import opened, sha256, whole
from PIL import Image


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
