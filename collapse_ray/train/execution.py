"""How a lineage is executed: nothing here may change what is computed, so nothing here is fingerprinted."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Spec


class MeterConfig(Spec):
    """How the nodes' energy is metered while lineages run."""

    enabled: bool = True
    """Meter every node of the cluster, and keep the ledger of the store."""
    interval_s: float = Field(default=1.0, ge=0.1, le=30)
    """Seconds between reads of a device; stages are read at their ends as well."""
    estimate: bool = True
    """Where no CPU sensor can be read, estimate CPUs from their utilisation, labelled so; false: unmeasured."""
    tdp_w: float | None = Field(default=None, gt=0)
    """Thermal design power of all CPUs of a node for the estimate; null: 4 W per logical core."""


class RunConfig(Spec):
    """Execution settings: store, workers, devices, memory savers, retries, retention, metering."""

    located: ClassVar[frozenset[str]] = frozenset({"store", "deepspeed"})

    store: str = "store"
    """Folder or URI (s3://…, gs://…) of the artifacts."""
    address: str | None = None
    """Ray cluster to use (`auto`, `ray://…`); null starts one on this machine for the time of the command."""
    workers: int = Field(default=0, ge=0)
    """Ray Train workers; 0 trains in the driver's own process (Ray Train's local mode)."""
    gpus_per_worker: float = Field(default=0, ge=0)
    """GPUs reserved for each worker; 0 trains on the CPU."""
    cpus_per_worker: float = Field(default=1, gt=0)
    """CPUs reserved for each worker, and the threads it computes with."""
    data_cpus: int = Field(default=1, ge=1)
    """CPUs kept free for Ray Data's read tasks, which would hang if workers held every CPU."""
    micro_batch_size: int | None = Field(default=None, gt=0)
    """Rows per worker and forward pass; gradients are accumulated up to train.batch_size. Null: no accumulation."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO: 1 shards the optimiser, 2 also gradients, 3 also parameters."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass (families that support it)."""
    deepspeed: str | None = None
    """A DeepSpeed JSON passed through; it may set whatever the spec does not."""
    checkpoint_every: int | None = Field(default=None, gt=0)
    """Steps between checkpoints inside a training stage; null restarts a killed stage from its first step."""
    retries: int = Field(default=3, ge=0)
    """Restarts of the worker group after a failure before the command gives up."""
    keep: str = "all"
    """Retention of weights and synthetic shards: `all`, `last:K` generations, or `records` (none)."""
    meter: MeterConfig = MeterConfig()
    """The energy ledger."""
    window_steps: int = Field(default=50, gt=0)
    """Steps between checks of the counted rows against the plan, and of the loss for non-finite values."""

    @field_validator("keep")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        name, _, count = value.partition(":")
        if value in ("all", "records") or (name == "last" and count.isdigit() and int(count) > 0):
            return value
        raise ValueError(f"{value!r} is not a retention policy; give 'all', 'last:K' with K >= 1, or 'records'")

    @property
    def keep_last(self) -> int | None:
        """Generations whose files are kept: None for all, 0 for none."""
        name, _, count = self.keep.partition(":")
        return {"all": None, "records": 0}.get(name, int(count or 0))

    def check_store(self) -> None:
        """Refuses a store that the nodes of a cluster would not find.

        Raises:
            InvalidInput: the store is relative to where the driver runs.
        """
        if self.address is not None and "://" not in self.store and not Path(self.store).expanduser().is_absolute():
            raise InvalidInput(
                f"run.store={self.store} is relative to where the driver runs, and with run.address={self.address} "
                "all nodes must find it; give an absolute path that they share, or a URI such as s3://bucket/store"
            )

    @property
    def num_gpus(self) -> float:
        """GPUs of all workers; without workers the driver is the only one."""
        return max(1, self.workers) * self.gpus_per_worker
