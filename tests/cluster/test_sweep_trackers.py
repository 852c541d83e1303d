"""What a sweep tells others than us: TensorBoard's event files hold every generation of every lineage."""

import struct
from pathlib import Path
from typing import Any

import pytest
from stores import records
from sweeps import gaussians, run
from tensorboardX.proto import event_pb2

EVENTS: Any = event_pb2  # its classes are made when it is imported

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_tensorboard_has_every_generation(tmp_path: Path) -> None:
    outcome, _ = run(gaussians(tmp_path, "callbacks.tensorboard={}", seeds=[0]))
    assert outcome.state == "complete"
    files = sorted((tmp_path / "store").rglob("events.out.tfevents.*"))
    assert len(files) == 2
    told = {value for file in files for value in values(file, "ray/tune/metrics/variance_ratio")}
    evaluations = records(tmp_path / "store", "evaluation").values()
    evaluated = {value for record in evaluations if (value := record.metrics["variance_ratio"]) is not None}
    assert len(evaluated) == 5  # generation 1 is that of both lineages
    assert sorted(told) == pytest.approx(sorted(evaluated), rel=1e-6)


def values(file: Path, tag: str) -> list[float]:
    """Scalars of one tag. A record is its length (8 bytes), a checksum (4), an event, a checksum (4)."""
    content, found, start = file.read_bytes(), list[float](), 0
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        event = EVENTS.Event.FromString(content[start + 12 : start + 12 + length])
        found += [value.simple_value for value in event.summary.value if value.tag == tag]
        start += 16 + length
    return found
