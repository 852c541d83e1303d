"""Scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, installed with the library."""

import hashlib

import numpy as np
from sklearn.datasets import load_digits

from collapse_ray.config.payload import Payload
from collapse_ray.data.source import ArrayRows, RealData, SourceSpec


class Spec(SourceSpec):
    """Images (1, 8, 8): the 17 grey levels of the set, spread over 0..255."""

    def open(self, seed: int) -> RealData:
        levels = load_digits(return_X_y=True)[0].reshape(-1, 1, 8, 8)
        images = np.rint(levels * (255 / 16)).astype(np.uint8)
        return RealData(
            payload=Payload("image", (1, 8, 8)),
            rows=ArrayRows(images),
            content={"images": hashlib.sha256(images.tobytes()).hexdigest()},
        )
