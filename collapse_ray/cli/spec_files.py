"""Spec files and overrides of their keys, as commands take them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapse_ray.lineage.spec import Experiment
    from collapse_ray.search.spec import Sweep


def split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Files, and overrides: what has an equals sign."""
    paths = [Path(argument) for argument in arguments if "=" not in argument]
    return paths, [argument for argument in arguments if "=" in argument]


def load(path: Path, overrides: list[str]) -> "Experiment | Sweep":
    """A sweep where the file has a base, else lineages.

    Raises:
        InvalidInput: one line for each problem, with its path.
    """
    from collapse_ray.config.load import read_mapping
    from collapse_ray.lineage.spec import load_experiment
    from collapse_ray.search.spec import load_sweep

    is_sweep = "base" in read_mapping(path, [override for override in overrides if override.startswith("base=")])
    return load_sweep(path, overrides) if is_sweep else load_experiment(path, overrides)
