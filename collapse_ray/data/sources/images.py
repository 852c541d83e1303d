"""Images from an .npz archive, an IDX file or a folder of PNG and JPEG files."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.payload import Payload
from collapse_ray.config.spec import Json
from collapse_ray.data.file_source import FileSource, checksum, locate, require_samples
from collapse_ray.data.image import (
    Shape,
    asked_shape,
    convert,
    file_rows,
    image_files,
    read_idx,
    read_npz,
    shape_of,
)
from collapse_ray.data.source import ArrayRows, RealData, Rows

IDX_NAME = re.compile(r"(\.idx|ubyte)(\.gz)?$")
"""`train-images-idx3-ubyte`, `images.idx`, either with `.gz`."""


class Spec(FileSource):
    """Images of one size.

    An .npz array or IDX file holds (N, H, W) or (N, H, W, C); a folder, with the folders below it, holds one image
    in each .png, .jpg or .jpeg file, taken in the order of their paths and decoded when they are read.
    """

    key: str | None = None
    """Array of an .npz archive; None takes the first of x, images, arr_0."""
    size: int | None = Field(default=None, ge=1)
    """Height and width that every image is resized to; None keeps them."""
    channels: Literal[1, 3] | None = None
    """1 makes grey images, 3 RGB; None keeps them."""

    def open(self, seed: int) -> RealData:
        rows, shape, digest = self._read("path", self.path)
        content: dict[str, Json] = {"path": digest}
        holdout = None
        if self.holdout is not None:
            holdout, holdout_shape, content["holdout"] = self._read("holdout", self.holdout)
            if holdout_shape != shape:
                raise InvalidInput(
                    f"holdout {self.holdout!r} has images of (channels, height, width) {holdout_shape}, "
                    f"path {self.path!r} of {shape}; they must be alike: set size and channels"
                )
        return RealData(payload=Payload("image", shape), rows=rows, holdout=holdout, content=content)

    def _read(self, field: str, given: str) -> tuple[Rows, Shape, str]:
        """Rows, their (C, H, W) and the checksum of the files they are in."""
        path = locate(field, given)
        if path.is_dir():
            paths = image_files(field, given, path)
            paths = paths[: self._num_taken(field, given, len(paths))]
            rows = file_rows(field, paths, self.size, self.channels)
            return rows, rows.shape, checksum(paths)
        images = self._read_array(field, path)
        images = images[: self._num_taken(field, given, len(images))]
        shape = asked_shape(shape_of(images), self.size, self.channels)
        return ArrayRows(convert(images, shape)), shape, checksum([path])

    def _read_array(self, field: str, path: Path) -> np.ndarray:
        if path.suffix == ".npz":
            return read_npz(field, path, self.key)
        if IDX_NAME.search(path.name):
            return read_idx(field, path)
        raise InvalidInput(
            f"{field} {str(path)!r} is of no known format; give an .npz archive, an IDX file (*.idx, *-ubyte, "
            "either with .gz) or a folder of PNG or JPEG files"
        )

    def _num_taken(self, field: str, given: str, num_found: int) -> int:
        if field == "path":
            return self.limit(num_found)
        require_samples(field, given, num_found)
        return num_found
