"""What training a generation means, apart from where it runs."""

from typing import Literal

from pydantic import Field, model_validator

from collapse_ray.config.spec import Spec


class OptimizerSpec(Spec):
    """AdamW (Loshchilov and Hutter, 2019)."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class TrainSpec(Spec):
    """Optimisation of one generation.

    Exactly one of `epochs`, `steps`, `samples`, `tokens` is the budget held fixed.
    """

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the pool: compute grows with the pool."""
    steps: int | None = Field(default=None, gt=0)
    """Optimiser updates: compute is the same for every pool size."""
    samples: int | None = Field(default=None, gt=0)
    """Rows seen, repeats counted."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens seen, repeats counted; token payloads only."""
    batch_size: int = Field(default=128, gt=0)
    """Global batch: rows per optimiser step over all workers, whatever their number."""
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Decay of the learning rate after the warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Gradients are scaled down to this global norm; null switches clipping off."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """bf16 and fp16 keep fp32 master weights; fp16 scales the loss dynamically."""
    init: Literal["scratch", "previous"] = "scratch"
    """Weights a generation starts from: new ones (or the family's checkpoint), or those of the generation before."""
    shuffle_window: int = Field(default=65_536, gt=0)
    """Rows shuffled together; a pool up to this size is shuffled uniformly."""

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainSpec":
        budgets = {name: getattr(self, name) for name in ("epochs", "steps", "samples", "tokens")}
        given = [name for name, value in budgets.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"gives {' and '.join(given) if given else 'no budget'}; "
                "give exactly one of epochs, steps, samples, tokens (set the others to null)"
            )
        return self

    def num_steps(self, num_rows: int, tokens_per_row: int | None) -> int:
        """Optimiser steps for a pool of `num_rows`; the last partial batch is dropped.

        Raises:
            ValueError: less than one batch, or a token budget without tokens.
        """
        if self.steps is not None:
            return self.steps
        if self.tokens is not None:
            if tokens_per_row is None:
                raise ValueError("train.tokens needs a token payload; give epochs, steps or samples")
            rows = self.tokens // tokens_per_row
        elif self.samples is not None:
            rows = self.samples
        else:
            assert self.epochs is not None
            rows = round(self.epochs * num_rows)
        steps = rows // self.batch_size
        if steps == 0:
            raise ValueError(
                f"the budget is {rows} rows, less than one batch of train.batch_size={self.batch_size}; "
                "lower batch_size or raise the budget"
            )
        return steps
