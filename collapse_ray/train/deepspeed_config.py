"""The DeepSpeed JSON of one training stage: what the spec decides, over what the user passed through."""

import json
from pathlib import Path
from typing import Any

from collapse_ray.config.errors import InvalidInput
from collapse_ray.train.deepspeed_keys import check_keys
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.spec import TrainSpec

DEFAULTS: dict[str, Any] = {
    # torch's AdamW updates offloaded weights too, with the same numbers; DeepSpeed's own one would be compiled first.
    "zero_force_ds_cpu_optimizer": False,
    # DeepSpeed would wait for the device in every step to print a speed that nobody reads.
    "timers": {"throughput": {"enabled": False}},
}
"""Settings of ours that the user's JSON may change."""


def deepspeed_config(train: TrainSpec, run: RunConfig, world_size: int) -> dict[str, Any]:
    """Merges the user's JSON (`run.deepspeed`) with the settings that the spec owns.

    Top-level values "auto" are left to the spec, or to DeepSpeed where the spec has no say.

    Raises:
        InvalidInput: the batch does not divide over the workers, or the JSON contradicts the spec or has a key that
            would be skipped.
    """
    micro = micro_batch_size(train, run, world_size)
    ours: dict[str, Any] = {
        "train_batch_size": train.batch_size,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": train.batch_size // (micro * world_size),
        "gradient_clipping": train.clip_norm or 0.0,
        "zero_optimization": {"stage": run.zero_stage},
        "bf16": {"enabled": train.precision == "bf16"},
        # A loss scale of 0 is a dynamic one.
        "fp16": {"enabled": train.precision == "fp16", "loss_scale": 0},
        # The optimiser is torch's own AdamW: the same update on every device, and nothing to compile.
        "zero_allow_untested_optimizer": True,
    }
    if run.deepspeed is None:
        return DEFAULTS | ours
    theirs = {key: value for key, value in _read(Path(run.deepspeed)).items() if value != "auto"}
    check_keys(theirs, run.deepspeed)
    return DEFAULTS | _merge(theirs, ours, run.deepspeed)


def micro_batch_size(train: TrainSpec, run: RunConfig, world_size: int) -> int:
    """Rows per rank and forward pass.

    Raises:
        InvalidInput: the global batch is not a whole number of micro-batches per worker.
    """
    share, rest = divmod(train.batch_size, world_size)
    if rest:
        raise InvalidInput(
            f"train.batch_size={train.batch_size} does not divide over {world_size} workers; "
            f"give a multiple of {world_size}, such as {max(1, round(train.batch_size / world_size)) * world_size}"
        )
    micro = run.micro_batch_size or share
    if share % micro:
        raise InvalidInput(
            f"run.micro_batch_size={micro} does not divide the {share} rows of each worker "
            f"(train.batch_size={train.batch_size} over {world_size}); give a divisor of {share}"
        )
    return micro


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise InvalidInput(f"run.deepspeed={path}: cannot be read: {error}") from error
    except ValueError as error:
        raise InvalidInput(f"run.deepspeed={path}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"run.deepspeed={path}: is a {type(value).__name__}; give a JSON object")
    return value


def _merge(theirs: dict[str, Any], ours: dict[str, Any], where: str, path: str = "") -> dict[str, Any]:
    merged = dict(theirs)
    for key, value in ours.items():
        if key not in theirs or theirs[key] == "auto":
            merged[key] = value
        elif isinstance(value, dict) and isinstance(theirs[key], dict):
            merged[key] = _merge(theirs[key], value, where, f"{path}{key}.")
        elif theirs[key] != value:
            raise InvalidInput(
                f"{where}: {path}{key} is {theirs[key]!r}, but the spec and run settings make it {value!r}; "
                'change one of them, or write "auto" in the JSON'
            )
    return merged
