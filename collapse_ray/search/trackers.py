"""Ray Tune's callbacks for TensorBoard, MLflow and Weights & Biases. A Ray seam."""

import os
from importlib.util import find_spec

from ray.tune import Callback

from collapse_ray.config.errors import InvalidInput
from collapse_ray.search.callbacks import CallbacksSpec
from collapse_ray.search.methods import optuna
from collapse_ray.search.spec import SweepSpec

INSTALL = {
    "tensorboard": ("tensorboardX", "pip install tensorboardX"),
    "mlflow": ("mlflow", "pip install mlflow"),
    "wandb": ("wandb", "pip install wandb"),
    "optuna": ("optuna", "pip install 'collapse-ray[search]'"),
}


def check_packages(spec: SweepSpec) -> None:
    """Refuses what needs a package that is missing, before anything starts.

    Raises:
        InvalidInput: says what to install.
    """
    asked = [f"callbacks.{name}" for name in CallbacksSpec.model_fields if getattr(spec.callbacks, name) is not None]
    if isinstance(spec.search, optuna.Spec):
        asked.append("search.optuna")
    for what in asked:
        package, install = INSTALL[what.rpartition(".")[2]]
        if find_spec(package) is None:
            raise InvalidInput(f"{what}: the package {package} is missing; {install}, or leave it out")


def trackers(spec: CallbacksSpec, sweep: str) -> list[Callback]:
    """The callbacks that a sweep asks for; each imports its package only then."""
    callbacks: list[Callback] = []
    if spec.tensorboard is not None:
        from ray.tune.logger import TBXLoggerCallback

        callbacks.append(TBXLoggerCallback())
    if spec.mlflow is not None:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        mlflow = spec.mlflow
        callbacks.append(
            MLflowLoggerCallback(tracking_uri=mlflow.tracking_uri, experiment_name=mlflow.experiment or sweep)
        )
    if spec.wandb is not None:
        from ray.air.integrations.wandb import WandbLoggerCallback

        wandb = spec.wandb
        if wandb.mode == "offline":
            os.environ["WANDB_MODE"] = "offline"  # read before the key is asked for, which offline there is none of
        callbacks.append(
            WandbLoggerCallback(project=wandb.project or sweep, group=sweep, entity=wandb.entity, mode=wandb.mode)
        )
    return callbacks
