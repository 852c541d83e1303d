"""The user's JSON reaches DeepSpeed whole, or is refused with the key that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.config import _REMOVED_TOP_LEVEL_CONFIG_KEYS, DeepSpeedConfig
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from deepspeed.runtime.zero.offload_config import DeepSpeedZeroOffloadOptimizerConfig, DeepSpeedZeroOffloadParamConfig
from pydantic import BaseModel
from stage_runs import Digits, run_stage

from collapse_ray.config.errors import InvalidInput
from collapse_ray.train.deepspeed_config import deepspeed_config, micro_batch_size
from collapse_ray.train.deepspeed_keys import NESTED, OWNED, PASSED, REFUSED
from collapse_ray.train.engine import Engine, check_precision
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup
from collapse_ray.train.spec import TrainSpec

TRAIN = TrainSpec(steps=2, batch_size=32)


@pytest.fixture
def config_of(tmp_path: Path) -> Any:
    def merged(given: Any, train: TrainSpec = TRAIN, world_size: int = 2, **run: Any) -> dict[str, Any]:
        path = tmp_path / "ds.json"
        path.write_text(json.dumps(given))
        return deepspeed_config(train, RunConfig(deepspeed=str(path), **run), world_size)

    return merged


def test_the_spec_decides_batches_precision_and_clipping() -> None:
    config = deepspeed_config(TRAIN, RunConfig(micro_batch_size=4, zero_stage=2), 2)
    assert config["train_batch_size"] == 32
    assert config["train_micro_batch_size_per_gpu"] == 4
    assert config["gradient_accumulation_steps"] == 4
    assert config["gradient_clipping"] == 1.0
    assert config["zero_optimization"] == {"stage": 2}
    assert (config["bf16"]["enabled"], config["fp16"]["enabled"]) == (True, False)


def test_fp16_scales_the_loss_dynamically() -> None:
    config = deepspeed_config(TRAIN.model_copy(update={"precision": "fp16"}), RunConfig(), 1)
    parsed = DeepSpeedConfig(config)
    assert parsed.float16_config.enabled
    assert not parsed.bfloat16_config.enabled
    assert parsed.float16_config.loss_scale == 0  # DeepSpeed's word for dynamic


def test_what_the_spec_does_not_decide_is_passed_through(config_of: Any) -> None:
    given = {
        "zero_optimization": {
            "stage": 3,
            "reduce_bucket_size": "auto",
            "overlap_comm": False,
            "offload_optimizer": {"device": "cpu", "pin_memory": False},
            "offload_param": {"device": "nvme", "nvme_path": "/local", "buffer_count": 7},
        },
        "fp16": {"initial_scale_power": 12, "hysteresis": 4},
        "gradient_clipping": "auto",
        "train_batch_size": 32,
        "steps_per_print": "auto",
        "wall_clock_breakdown": True,
        "aio": {"block_size": 1048576},
        "communication_data_type": "fp32",
    }
    config = config_of(given, zero_stage=3)
    assert config["zero_optimization"] == given["zero_optimization"]
    assert config["fp16"] == {"initial_scale_power": 12, "hysteresis": 4, "enabled": False, "loss_scale": 0}
    assert config["gradient_clipping"] == 1.0
    assert "steps_per_print" not in config  # DeepSpeed's own default
    assert (config["wall_clock_breakdown"], config["communication_data_type"]) == (True, "fp32")
    assert config["aio"] == {"block_size": 1048576}
    assert config["zero_force_ds_cpu_optimizer"] is False


def test_our_defaults_can_be_changed(config_of: Any) -> None:
    assert config_of({"timers": {"throughput": {"enabled": True}}})["timers"] == {"throughput": {"enabled": True}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_batch_size": 64}, "train_batch_size is 64, but the spec and run settings make it 32"),
        ({"gradient_accumulation_steps": 3}, "gradient_accumulation_steps is 3"),
        ({"gradient_clipping": 0.5}, r"gradient_clipping is 0.5, but .* 1.0"),
        ({"zero_optimization": {"stage": 2}}, r"zero_optimization.stage is 2, but .* make it 0"),
        ({"zero_optimization": True}, "zero_optimization is True"),
        ({"bf16": {"enabled": False}}, "bf16.enabled is False, but .* True"),
        ({"fp16": {"loss_scale": 128}}, "fp16.loss_scale is 128, but .* make it 0"),
        ({"optimizer": {"type": "Adam"}}, "'optimizer' cannot be set: train.optimizer decides it"),
        ({"scheduler": {"type": "WarmupLR"}}, "'scheduler' cannot be set: train.schedule"),
        ({"activation_checkpointing": {}}, "set run.activation_checkpointing"),
        ({"wall_clock_brakdown": True}, "no key 'wall_clock_brakdown'; did you mean 'wall_clock_breakdown'"),
        (
            {"zero_optimization": {"stage": 0, "overlap_com": True}},
            "no key 'zero_optimization.overlap_com'; did you mean 'overlap_comm'",
        ),
        (
            {"zero_optimization": {"offload_optimizer": {"devices": "cpu"}}},
            "no key 'zero_optimization.offload_optimizer.devices'; did you mean 'device'",
        ),
        ({"fp16": {"hysterisis": 2}}, "no key 'fp16.hysterisis'; did you mean 'hysteresis'"),
        ([], "is a list; give a JSON object"),
    ],
)
def test_contradictions_and_unknown_keys_are_refused(config_of: Any, given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        config_of(given)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    with pytest.raises(InvalidInput, match=r"ds.json: cannot be read"):
        deepspeed_config(TRAIN, RunConfig(deepspeed=str(path)), 1)
    path.write_text("{'stage': 1}")
    with pytest.raises(InvalidInput, match="is not JSON"):
        deepspeed_config(TRAIN, RunConfig(deepspeed=str(path)), 1)


def test_batches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InvalidInput, match="does not divide over 3 workers; give a multiple of 3, such as 33"):
        micro_batch_size(TRAIN, RunConfig(), 3)
    with pytest.raises(InvalidInput, match="does not divide the 16 rows of each worker"):
        micro_batch_size(TRAIN, RunConfig(micro_batch_size=5), 2)


# The keys are those of the installed DeepSpeed --------------------------------------------------


class Looked(dict[str, Any]):
    """A configuration that notes which keys DeepSpeed looks for."""

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self.keys_read = set[str]()

    def __getitem__(self, key: str) -> Any:
        self.keys_read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.keys_read.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.keys_read.add(key)
        return super().get(key, default)

    def keys(self) -> Any:
        return self  # DeepSpeed asks `key in config.keys()`

    def __copy__(self) -> "Looked":
        return self


def test_the_top_level_keys_are_those_that_deepspeed_reads() -> None:
    looked = Looked({"train_batch_size": 8})
    DeepSpeedConfig(looked)
    read = looked.keys_read - set(_REMOVED_TOP_LEVEL_CONFIG_KEYS)
    read.add("sequence_parallel_size")  # looked for in a process group only
    assert PASSED | OWNED | REFUSED.keys() == read
    assert not PASSED & OWNED
    assert not (PASSED | OWNED) & REFUSED.keys()


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("zero_optimization", DeepSpeedZeroConfig),
        ("zero_optimization.offload_param", DeepSpeedZeroOffloadParamConfig),
        ("zero_optimization.offload_optimizer", DeepSpeedZeroOffloadOptimizerConfig),
        ("bf16", DeepSpeedBF16Config),
        ("fp16", DeepSpeedFP16Config),
    ],
)
def test_the_nested_keys_are_the_fields_of_deepspeed(path: str, model: type[BaseModel]) -> None:
    aliases = {field.alias for field in model.model_fields.values() if field.alias is not None}
    assert NESTED[path] == model.model_fields.keys() | aliases


# In the engine -----------------------------------------------------------------------------------


def test_a_value_that_deepspeed_refuses_is_invalid_input(digits: Digits, config_of: Any) -> None:
    config = config_of({"zero_optimization": {"reduce_bucket_size": "many"}}, world_size=1, zero_stage=1)
    with pytest.raises(InvalidInput, match=r"(?s)DeepSpeed refuses its configuration.*reduce_bucket_size"):
        Engine(digits.autoencoder(), TRAIN, config, 2)


def test_fp16_is_refused_where_the_cpu_has_none() -> None:
    if torch.ops.mkldnn._is_mkldnn_fp16_supported():
        pytest.skip("this CPU trains in fp16")
    with pytest.raises(InvalidInput, match="fp16 is not supported on this cpu; use bf16 or fp32 here, or GPUs"):
        check_precision("fp16")


def test_bf16_has_no_loss_scale(digits: Digits) -> None:
    engine = Engine(digits.autoencoder(), TRAIN, deepspeed_config(TRAIN, RunConfig(), 1), 2)
    optimizer = engine._engine.optimizer
    assert isinstance(optimizer, FP16_UnfusedOptimizer)
    assert (optimizer.loss_scale_config.dynamic_loss_scale, optimizer.loss_scale) == (False, 1)
    engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_offload_to_the_cpu_trains_alike(digits: Digits, tmp_path: Path, zero_stage: int) -> None:
    zero: dict[str, Any] = {"offload_optimizer": {"device": "cpu", "pin_memory": False}}
    if zero_stage == 3:
        zero["offload_param"] = {"device": "cpu", "pin_memory": False}
    path = tmp_path / "offload.json"
    path.write_text(json.dumps({"zero_optimization": zero}))
    settings = {"zero_stage": zero_stage, "window_steps": 1}
    offloaded = RunConfig.model_validate({**settings, "deepspeed": str(path)})
    losses = [
        run_stage(SoloGroup(), digits, digits.autoencoder(), TRAIN, run).losses
        for run in (RunConfig.model_validate(settings), offloaded)
    ]
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
