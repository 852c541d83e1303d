"""Images from arrays, IDX files and folders, as (C, H, W) of uint8."""

import gzip
import math
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from collapse_ray.config.errors import InvalidInput

Shape: TypeAlias = tuple[int, int, int]
"""(C, H, W)."""

ARRAY_KEYS = ("x", "images", "arr_0")
SUFFIXES = (".jpeg", ".jpg", ".png")
FORMATS = ("PNG", "JPEG")
MODES = {"1": 1, "L": 1, "LA": 1, "P": 3, "RGB": 3, "RGBA": 3, "CMYK": 3, "YCbCr": 3}
"""Channels that a PIL mode is read with; deeper modes (I;16, F) do not fit into 8 bits."""


def fit(image: Image.Image, shape: Shape) -> np.ndarray:
    """An image as uint8 (C, H, W) of the given shape; alpha is dropped.

    Resizing is bicubic with antialiasing, as Parmar et al. 2022 ("On aliased resizing") recommend.
    """
    channels, height, width = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


@dataclass(frozen=True)
class FileRows:
    """One image file for each row, decoded when it is read."""

    paths: tuple[Path, ...]
    shape: Shape

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, start: int, stop: int) -> np.ndarray:
        paths = self.paths[start:stop]
        images = np.empty((len(paths), *self.shape), dtype=np.uint8)
        for row, path in enumerate(paths):
            images[row] = self._decode(path)
        return images

    def _decode(self, path: Path) -> np.ndarray:
        try:
            with Image.open(path, formats=FORMATS) as image:
                return fit(image, self.shape)
        except (OSError, SyntaxError) as error:  # PIL raises SyntaxError for a broken PNG chunk
            raise InvalidInput(
                f"the image {str(path)!r} is broken ({error}); replace it or take it out of the folder"
            ) from error


def image_files(field: str, given: str, folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder and the folders below it, sorted by path.

    Raises:
        InvalidInput: there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not images:
        suffixes = Counter(path.suffix or path.name for path in files).most_common(5)
        found = ", ".join(f"{count} x {suffix}" for suffix, count in suffixes) or "nothing"
        raise InvalidInput(
            f"{field} {given!r} holds no images: found {found}; a folder must hold {', '.join(SUFFIXES)}"
        )
    return images


def file_rows(field: str, paths: list[Path], size: int | None, channels: int | None) -> FileRows:
    """Rows of image files, after every header was read.

    Raises:
        InvalidInput: a file is no image, or its size or channels differ from the first one's and were not asked for.
    """
    shape = _header(field, paths[0])
    for path in paths[1:]:
        other = _header(field, path)
        if size is None and other[1:] != shape[1:]:
            raise InvalidInput(
                f"{field}: {str(path)!r} is {other[1]}x{other[2]} (height x width), but {str(paths[0])!r} is "
                f"{shape[1]}x{shape[2]}; images must all have one size: set size to resize them"
            )
        if channels is None and other[0] != shape[0]:
            raise InvalidInput(
                f"{field}: {str(path)!r} has {other[0]} channel(s), but {str(paths[0])!r} has {shape[0]}; "
                "set channels to 1 or 3 to convert them"
            )
    return FileRows(tuple(paths), asked_shape(shape, size, channels))


def asked_shape(found: Shape, size: int | None, channels: int | None) -> Shape:
    """(C, H, W) after conversion; None keeps what was found."""
    return channels or found[0], size or found[1], size or found[2]


def convert(images: np.ndarray, shape: Shape) -> np.ndarray:
    """Images uint8 (N, C, H, W) brought to another (C, H, W)."""
    if images.shape[1:] == shape:
        return images
    channels_last = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    return np.stack([fit(Image.fromarray(image), shape) for image in channels_last])


def read_npz(field: str, path: Path, key: str | None) -> np.ndarray:
    """The images of one array of an .npz file: uint8 (N, C, H, W).

    Raises:
        InvalidInput: not an .npz file, no such key, Python objects, or an array that is not images.
    """
    where = f"{field} {str(path)!r}"
    if not zipfile.is_zipfile(path):
        raise InvalidInput(f"{where} is not an .npz archive, or was cut short; write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as archive:
            chosen = key or next((name for name in ARRAY_KEYS if name in archive), None)
            if chosen is None or chosen not in archive:
                raise InvalidInput(
                    f"{where} has no array {key or ' / '.join(ARRAY_KEYS)}; it holds: "
                    f"{', '.join(archive.files) or '(nothing)'}. Set key to the one that holds the images"
                )
            array = archive[chosen]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{where} cannot be read ({error}); arrays must be uint8 or floats, never pickled objects: "
            "write it with numpy.savez"
        ) from error
    return to_images(f"{where}, array {chosen!r}", array)


def read_idx(field: str, path: Path) -> np.ndarray:
    """The images of an IDX file (the format of MNIST's distribution), gzipped or not: uint8 (N, C, H, W).

    Raises:
        InvalidInput: not IDX, not unsigned bytes, or cut short.
    """
    where = f"{field} {str(path)!r}"
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{where} is not a whole gzip file ({error}); copy it again") from error
    # Magic number: two zero bytes, the type (0x08: unsigned byte), the number of dimensions; then their sizes.
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise InvalidInput(
            f"{where} is not an IDX file of unsigned bytes (it begins with {content[:4].hex(' ')!r}); "
            "give one that begins with 00 00 08, or an .npz archive"
        )
    start = 4 + 4 * content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != math.prod(shape):
        raise InvalidInput(
            f"{where} declares the shape {shape}, {math.prod(shape)} bytes, but holds {len(content) - start}; "
            "copy it again"
        )
    return to_images(where, np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape))


def to_images(where: str, array: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) of uint8, or of floats in [0, 1], as uint8 (N, C, H, W).

    Raises:
        InvalidInput: another shape, dtype or range.
    """
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)) or 0 in array.shape[1:]:
        raise InvalidInput(
            f"{where} has the shape {array.shape}; images are (N, H, W) or (N, H, W, C) with C = 1 or 3: reshape it"
        )
    if np.issubdtype(array.dtype, np.floating):
        if not ((array >= 0) & (array <= 1)).all():
            raise InvalidInput(
                f"{where} has values from {array.min()} to {array.max()}; floats must lie in [0, 1]: "
                "divide them by their range, or store uint8"
            )
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InvalidInput(f"{where} is {array.dtype}; images are uint8, or floats in [0, 1]: convert it")
    return array[:, None] if array.ndim == 3 else np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def shape_of(images: np.ndarray) -> Shape:
    """(C, H, W) of images (N, C, H, W)."""
    _, channels, height, width = images.shape
    return channels, height, width


def _header(field: str, path: Path) -> Shape:
    """(C, H, W) by the file's header; the pixels are not decoded, nor is the EXIF orientation applied."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            mode, (width, height) = image.mode, image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{field}: {str(path)!r} is not a PNG or JPEG image ({error}); take it out") from error
    if mode not in MODES:
        raise InvalidInput(
            f"{field}: {str(path)!r} has pixels of mode {mode}; images have 8 bits per channel: convert it"
        )
    return MODES[mode], height, width
