"""The values of one metric of a few rows."""

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.metric import MetricSpec

PLANE = Payload("vector", (2,))
WORDS = Payload("tokens", (4,), vocab_size=10)


def measure(*args, **kwargs) -> dict[str, float | None]:
    """Without standard errors: test_sampling_error.py."""
    return {name: value for name, value in measure_all(*args, **kwargs).items() if not name.endswith("_stderr")}


def measure_all(
    metric: dict | str, payload: Payload, real: np.ndarray, synthetic: np.ndarray, loss: np.ndarray | None = None
) -> dict[str, float | None]:
    """The values of one metric after a single pass over rows numbered from 0."""
    summary = MetricSpec.resolve(metric).empty(payload)
    assert summary is not None
    summary.update_real(np.arange(len(real)), real, np.zeros(len(real)) if loss is None else loss)
    summary.update_synthetic(np.arange(len(synthetic)), synthetic)
    return summary.compute()
