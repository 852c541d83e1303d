"""What a lineage is: everything that decides its numbers, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import read_mapping, validate
from collapse_ray.config.spec import Json, Spec
from collapse_ray.data.regime import RegimeSpec
from collapse_ray.data.source import SourceSpec
from collapse_ray.evaluate.spec import EvaluateSpec
from collapse_ray.generate.spec import GenerateSpec
from collapse_ray.model.family import FamilySpec
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.spec import TrainSpec


class LineageSpec(Spec):
    """A chain of generators of one family on one source under one regime."""

    source: SourceSpec
    """Where the real data comes from."""
    family: FamilySpec
    """The kind of generator that every generation is."""
    regime: RegimeSpec
    """The rule that makes each generation's pool."""
    depth: int = Field(gt=0)
    """Generations to train; a fidelity, not part of the identity: a longer lineage continues a shorter one."""
    seed: int = Field(default=0, ge=0)
    holdout_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the real rows held out for evaluation, where the source has no test split of its own."""
    train: TrainSpec | None = None
    """Optimisation; null for families in closed form."""
    generate: GenerateSpec = GenerateSpec()
    evaluate: EvaluateSpec = EvaluateSpec()

    @model_validator(mode="after")
    def _training_fits_family(self) -> "LineageSpec":
        if self.family.closed_form and self.train is not None:
            raise ValueError(
                f"family {self.family.kind!r} is fitted in closed form and has no train settings; remove train"
            )
        if not self.family.closed_form and self.train is None:
            raise ValueError(
                f"family {self.family.kind!r} is trained with gradients; give train, e.g. train={{epochs: 10}}"
            )
        return self

    def identity(self) -> dict[str, Json]:
        """All fields but `depth`."""
        return {name: value for name, value in super().identity().items() if name != "depth"}


@dataclass(frozen=True)
class Experiment:
    """One spec file: lineages that differ in their seed, and how to run them."""

    name: str
    lineages: tuple[LineageSpec, ...]
    run: RunConfig


class _File(LineageSpec):
    """The spec file's keys: those of a lineage, with `seeds` beside `seed`, and `run`."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Prefix of the lineages' index files; the file's name when absent."""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Replicates: one lineage for each seed; instead of `seed`."""
    run: RunConfig = RunConfig()


def load_experiment(path: Path, overrides: list[str]) -> Experiment:
    """Reads a spec file with `key=value` overrides.

    Raises:
        InvalidInput: one line for each problem, with its path.
    """
    mapping = read_mapping(path, overrides)
    if "seed" in mapping and mapping.get("seeds") is not None:
        raise InvalidInput(f"{path}: gives both seed and seeds; keep one")
    file = validate(_File, {**mapping, "name": mapping.get("name") or path.stem}, str(path))
    file.run.check_store()
    seeds = file.seeds or (file.seed,)
    if len(set(seeds)) != len(seeds):
        raise InvalidInput(f"{path}: seeds={list(seeds)} repeats a seed; replicates must differ")
    fields = {name: getattr(file, name) for name in LineageSpec.model_fields}
    lineages = tuple(LineageSpec(**{**fields, "seed": seed}) for seed in seeds)
    return Experiment(file.name, lineages, file.run)
