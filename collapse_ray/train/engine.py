"""All that collapse-ray knows of DeepSpeed."""

import logging
import os
import sysconfig
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
# For NVMe offload DeepSpeed compiles its I/O with the ninja beside this interpreter, which it calls by its bare name.
os.environ["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}"

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import DeepSpeedAccelerator, get_accelerator
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.utils import logger as deepspeed_logger
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from transformers.optimization import get_scheduler

from collapse_ray.config.errors import InvalidInput
from collapse_ray.model.family import Generator
from collapse_ray.train.spec import TrainSpec

deepspeed_logger.setLevel(logging.ERROR)
# On CPUs DeepSpeed would compile a shared-memory collective that only its inference calls, and print that it did.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
# torch renamed collectives that DeepSpeed calls by their old names.
warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)


class Engine:
    """One training stage under DeepSpeed: mixed precision, ZeRO, accumulation, clipping, checkpoints.

    Every method is collective: all ranks call it alike.
    """

    def __init__(self, generator: Generator, train: TrainSpec, config: dict[str, Any], num_steps: int) -> None:
        """Wraps a generator.

        Args:
            generator: lies on the device already; its weights are the same on every rank.
            train: optimiser, schedule and precision.
            config: a complete DeepSpeed configuration.
            num_steps: optimiser steps of the stage, for the schedule.

        Raises:
            InvalidInput: the device cannot do the precision, or DeepSpeed refuses the configuration.
        """
        check_precision(train.precision)
        _ensure_process_group()
        optimizer = torch.optim.AdamW(
            [p for p in generator.parameters() if p.requires_grad],
            lr=train.optimizer.lr,
            betas=train.optimizer.betas,
            eps=train.optimizer.eps,
            weight_decay=train.optimizer.weight_decay,
            fused=True,  # one kernel for all parameters, on CPUs too
        )
        try:
            self._engine, *_ = deepspeed.initialize(
                model=generator,
                optimizer=optimizer,
                lr_scheduler=_scheduler(train, num_steps),
                config=config,
                dist_init_required=False,
            )
        except ValueError as error:  # pydantic's ValidationError of DeepSpeed's own configuration is one
            raise InvalidInput(f"DeepSpeed refuses its configuration: {error}") from error
        if isinstance(self._engine.optimizer, FP16_UnfusedOptimizer):
            _forget_first_step(self._engine.optimizer)
        if dist.get_world_size() == 1 and self._engine.zero_optimization_stage() == 0:
            # DeepSpeed would average the gradients of a lone rank with itself, through the process group.
            self._engine.enable_backward_allreduce = False
        self._generator = generator
        self.accumulation = int(config["gradient_accumulation_steps"])

    def step(self, payload: Tensor, weight: Tensor | None) -> Tensor:
        """One optimiser update on this rank's rows of a global batch.

        Args:
            payload: (B, *shape) on the device, B rows in `accumulation` equal micro-batches.
            weight: (B,) with a mean of 1 over the pool, or None to weigh all rows alike.

        Returns:
            The mean weighted loss per sample before the update, in nats: a scalar on the device.
        """
        if self.accumulation == 1:
            return self._micro_step(payload, weight)
        weights = [None] * self.accumulation if weight is None else weight.chunk(self.accumulation)
        micros = zip(payload.chunk(self.accumulation), weights, strict=True)
        return torch.stack([self._micro_step(micro, micro_weight) for micro, micro_weight in micros]).mean()

    def _micro_step(self, payload: Tensor, weight: Tensor | None) -> Tensor:
        """Gradients of one micro-batch, and the update where it is the last one; returns its loss."""
        per_sample = self._engine(payload).float()
        loss = per_sample.mean() if weight is None else (per_sample * weight).mean()
        self._engine.backward(loss)
        self._engine.step()
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """The whole fp32 weights and buffers on the CPU, whatever the ZeRO stage; the same on every rank."""
        optimizer = self._engine.optimizer
        masters = _masters(optimizer) if isinstance(optimizer, FP16_UnfusedOptimizer) else None
        full = dict[str, Tensor]()
        for name, parameter in self._generator.named_parameters():
            value = safe_get_full_fp32_param(parameter) if masters is None else masters.get(parameter)
            # DeepSpeed keeps no separate master where it trains fp32 without ZeRO.
            full[name] = (parameter if value is None else value).detach().float().cpu().clone()
        for name, buffer in self._generator.named_buffers():
            full[name] = buffer.detach().cpu().clone()
        return full

    @property
    def skipped_steps(self) -> int:
        """Updates that DeepSpeed left out because a gradient was not finite: usual under loss scaling alone."""
        return self._engine.skipped_steps

    def save(self, folder: str, step: int) -> None:
        """Writes optimiser, master weights and schedule; every rank writes its own shards below `folder`."""
        os.makedirs(f"{folder}/step", exist_ok=True)  # noqa: PTH103 (DeepSpeed takes strings)
        self._engine.save_checkpoint(folder, tag="step", client_state={"step": step})

    def load(self, folder: str) -> int:
        """Restores what `save` wrote with the same world size; returns the step it was written at."""
        _, state = self._engine.load_checkpoint(folder, tag="step")
        assert state is not None, f"DeepSpeed finds no checkpoint in {folder}"
        return int(state["step"])

    def close(self) -> None:
        """Frees the optimiser's memory and hooks; the generator must not be used afterwards."""
        self._engine.destroy()


def check_precision(precision: str) -> None:
    """Refuses a precision that this process's device cannot train in.

    Raises:
        InvalidInput: names the device and the precisions it has.
    """
    device = _accelerator()
    if precision == "fp16" and not device.is_fp16_supported():
        raise InvalidInput(
            f"train.precision=fp16 is not supported on this {device.device_name(None)}; "
            "use bf16 or fp32 here, or GPUs with run.gpus_per_worker=1"
        )


def _accelerator() -> DeepSpeedAccelerator:
    device = get_accelerator()
    assert device is not None
    return device


def _ensure_process_group() -> None:
    """DeepSpeed needs a process group even for a lone process, which Ray Train's local mode does not start."""
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed's launcher would set it
    if not dist.is_initialized():
        dist.init_process_group(store=HashStore(), rank=0, world_size=1)


def _scheduler(train: TrainSpec, num_steps: int) -> Callable[[torch.optim.Optimizer], Any]:
    name = "constant_with_warmup" if train.schedule == "constant" else train.schedule
    return lambda optimizer: get_scheduler(name, optimizer, train.warmup_steps, num_steps)


def _forget_first_step(optimizer: FP16_UnfusedOptimizer) -> None:
    """Undoes the update on zero gradients by which DeepSpeed allocates the optimiser's state in ZeRO stage 0.

    It has decayed the weights once and counts in Adam's bias correction: the first update would be 0.74 of its size.
    """
    optimizer.optimizer.state.clear()
    with torch.no_grad():
        for low, master in _masters(optimizer).items():
            master.copy_(low)


def _masters(optimizer: FP16_UnfusedOptimizer) -> dict[Tensor, Tensor]:
    """Low-precision parameter -> fp32 master of DeepSpeed's optimiser for ZeRO stage 0."""
    pairs = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
    return {low: master for lows, masters in pairs for low, master in zip(lows, masters, strict=True)}
