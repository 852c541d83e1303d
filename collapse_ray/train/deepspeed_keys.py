"""The keys of a DeepSpeed 0.19 JSON, kept here because a driver must not import DeepSpeed to check them.

A test compares them with the installed DeepSpeed, which itself ignores an unknown key at the top level.
"""

from collapse_ray.config.errors import InvalidInput, did_you_mean

OWNED = frozenset(
    {
        "gradient_accumulation_steps",
        "gradient_clipping",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "zero_allow_untested_optimizer",
    }
)
"""Values that follow from the spec and run settings; they may be repeated, or left to these with "auto"."""

PASSED = frozenset(
    {
        "aio",
        "bf16",
        "checkpoint",
        "comet",
        "comms_logger",
        "communication_data_type",
        "compile",
        "csv_monitor",
        "data_types",
        "disable_allgather",
        "disable_python_gc",
        "dump_state",
        "flops_profiler",
        "fp16",
        "gradient_predivide_factor",
        "log_level",
        "memory_breakdown",
        "prescale_gradients",
        "steps_per_print",
        "tensorboard",
        "timers",
        "wall_clock_breakdown",
        "wandb",
        "zero_force_ds_cpu_optimizer",
        "zero_optimization",
    }
)
"""Handed to DeepSpeed as they are."""

REFUSED = {
    "activation_checkpointing": "the families checkpoint by themselves: set run.activation_checkpointing",
    "autotuning": "it needs DeepSpeed's own launcher",
    "bfloat16": 'the key of this version is "bf16", and train.precision sets it',
    "data_efficiency": "the plan decides which rows a generation sees",
    "dataloader_drop_last": "batches come from the plan, not from DeepSpeed's loader",
    "datastates_ckpt": "checkpoints go to the store: set run.checkpoint_every",
    "expert_parallel": "no family has experts",
    "gradient_allreduce_op": "gradients are means over the global batch",
    "hybrid_engine": "generators are sampled outside DeepSpeed",
    "managed_gradient_accumulation": "run.micro_batch_size decides it",
    "optimizer": "train.optimizer decides it",
    "pipeline": "workers are data parallel",
    "scheduler": "train.schedule and train.warmup_steps decide it",
    "seq_parallel_communication_data_type": "workers are data parallel",
    "sequence_parallel_size": "workers are data parallel",
    "tensor_parallel": "workers are data parallel",
    "torch_autocast": "train.precision decides it",
    "use_data_before_expert_parallelism": "no family has experts",
    "vocabulary_size": "the payload decides it",
    "weight_quantization": "it would change the weights that are published",
}
"""Keys that DeepSpeed knows and that would be without effect here, or against the spec; and why."""

NESTED = {
    "zero_optimization": frozenset(
        [
            "allgather_bucket_size",
            "allgather_partitions",
            "allgather_sequential",
            "compute_grad_norm",
            "contiguous_gradients",
            "cpu_offload",
            "cpu_offload_param",
            "cpu_offload_use_pin_memory",
            "elastic_checkpoint",
            "enable_sanity_checks",
            "gather_16bit_weights_on_model_save",
            "ignore_unused_parameters",
            "leaf_module",
            "legacy_stage1",
            "load_from_fp32_weights",
            "log_trace_cache_warnings",
            "max_live_parameters",
            "max_reuse_distance",
            "memory_efficient_linear",
            "model_persistence_threshold",
            "module_granularity_threshold",
            "offload_optimizer",
            "offload_param",
            "overlap_comm",
            "override_module_apply",
            "param_persistence_threshold",
            "parameter_alignment",
            "pipeline_loading_checkpoint",
            "prefetch_bucket_size",
            "reduce_bucket_size",
            "reduce_scatter",
            "round_robin_gradients",
            "save_muon_momentum_buffer_in_memory",
            "stage",
            "stage3_allgather_sequential",
            "stage3_gather_16bit_weights_on_model_save",
            "stage3_gather_fp16_weights_on_model_save",
            "stage3_max_live_parameters",
            "stage3_max_reuse_distance",
            "stage3_model_persistence_threshold",
            "stage3_module_granularity_threshold",
            "stage3_param_persistence_threshold",
            "stage3_prefetch_bucket_size",
            "stage3_use_all_reduce_for_fetch_params",
            "sub_group_size",
            "use_all_reduce_for_fetch_params",
            "use_multi_rank_bucket_allreduce",
            "zenflow",
            "zero_hpz_partition_size",
            "zero_quantized_gradients",
            "zero_quantized_nontrainable_weights",
            "zero_quantized_weights",
        ],
    ),
    "zero_optimization.offload_param": frozenset(
        ["buffer_count", "buffer_size", "device", "max_in_cpu", "nvme_path", "pin_memory"],
    ),
    "zero_optimization.offload_optimizer": frozenset(
        [
            "buffer_count",
            "cpuadam_cores_perc",
            "device",
            "fast_init",
            "nvme_path",
            "pin_memory",
            "pipeline_read",
            "pipeline_write",
            "ratio",
            "super_offload",
        ],
    ),
    "bf16": frozenset(
        [
            "bf16_master_weights_and_grads",
            "bf16_optimizer_states",
            "check_grad_overflow",
            "enabled",
            "immediate_grad_update",
        ],
    ),
    "fp16": frozenset(
        [
            "auto_cast",
            "consecutive_hysteresis",
            "enabled",
            "fp16_master_weights_and_grads",
            "hysteresis",
            "initial_scale_power",
            "loss_scale",
            "loss_scale_window",
            "min_loss_scale",
        ],
    ),
}
"""Keys of the objects in which a typo is likeliest; DeepSpeed checks their values when a worker starts."""


def check_keys(config: dict[str, object], where: str) -> None:
    """Refuses what would be skipped in silence.

    Raises:
        InvalidInput: a key that DeepSpeed does not know, or that has no effect in this program.
    """
    for key in config:
        if key in REFUSED:
            raise InvalidInput(f"{where}: {key!r} cannot be set: {REFUSED[key]}; remove it from the JSON")
    _check("", config, PASSED | OWNED, where)
    for path, known in NESTED.items():
        value: object = config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, dict):
            _check(f"{path}.", value, known, where)


def _check(path: str, given: dict[str, object], known: frozenset[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise InvalidInput(f"{where}: DeepSpeed has no key {path + key!r}; {did_you_mean(key, known)}")
