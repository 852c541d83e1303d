"""Where else a sweep reports to; everything is off unless it is given."""

from typing import Literal

from collapse_ray.config.spec import Spec


class TensorBoardSpec(Spec):
    """Event files in each trial's folder of Ray Tune; needs the package `tensorboardX`."""


class MLflowSpec(Spec):
    """One MLflow run for each lineage; needs the package `mlflow`."""

    tracking_uri: str | None = None
    """Server or folder; null: MLflow's own default (`MLFLOW_TRACKING_URI`)."""
    experiment: str | None = None
    """Name of the experiment; null: the sweep's name."""


class WandbSpec(Spec):
    """One run of Weights & Biases for each lineage; needs the package `wandb`, and its key in `WANDB_API_KEY`."""

    project: str | None = None
    """Null: the sweep's name."""
    entity: str | None = None
    """User or team; null: the key's own."""
    mode: Literal["online", "offline"] = "online"
    """`offline` writes to the trial's folder, for `wandb sync`."""


class CallbacksSpec(Spec):
    """Callbacks of Ray Tune."""

    tensorboard: TensorBoardSpec | None = None
    """`{}` switches it on."""
    mlflow: MLflowSpec | None = None
    """`{}` switches it on."""
    wandb: WandbSpec | None = None
    """`{}` switches it on."""
