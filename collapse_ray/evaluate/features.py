"""Rows as points in a space where distances and variances are taken."""

import math

import numpy as np

from collapse_ray.config.payload import Payload


def has_features(payload: Payload) -> bool:
    """Whether a sample is one point: an image or one vector, but neither tokens nor several replicas."""
    replicated = payload.kind == "vector" and len(payload.shape) == 2 and payload.shape[0] > 1
    return payload.kind != "tokens" and not replicated


def features(payload: np.ndarray) -> np.ndarray:
    """Flattened rows as doubles: (B, *shape) -> (B, D); 8-bit pixels are scaled to [0, 1]."""
    flat = payload.reshape(len(payload), math.prod(payload.shape[1:]))
    return flat / 255.0 if payload.dtype == np.uint8 else flat.astype(np.float64, copy=False)
