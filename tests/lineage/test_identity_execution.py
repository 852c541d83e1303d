"""No setting of the execution changes a fingerprint."""

from typing import Any

import pytest
from identified_lineages import GAUSSIAN, VAE, Identities

from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.train.execution import RunConfig

EXECUTION: dict[str, Any] = {
    "store": "s3://elsewhere",
    "address": "ray://head:10001",
    "workers": 4,
    "gpus_per_worker": 0.5,
    "cpus_per_worker": 2.0,
    "data_cpus": 3,
    "micro_batch_size": 8,
    "zero_stage": 3,
    "activation_checkpointing": True,
    "deepspeed": "offload.json",
    "checkpoint_every": 10,
    "retries": 0,
    "keep": "records",
    "window_steps": 7,
    "meter": {"interval_s": 2.0, "tdp_w": 65.0},
}


def test_every_execution_setting_is_changed_here() -> None:
    assert EXECUTION.keys() == RunConfig.model_fields.keys()
    assert [name for name, value in EXECUTION.items() if value == getattr(RunConfig(), name)] == []


@pytest.mark.parametrize("name", EXECUTION)
@pytest.mark.parametrize("lineage", [GAUSSIAN, VAE], ids=["gaussian", "vae"])
def test_execution_settings_enter_no_fingerprint(lineage: LineageSpec, name: str, identities_of: Identities) -> None:
    assert identities_of(lineage, RunConfig(**{name: EXECUTION[name]})) == identities_of(lineage)
