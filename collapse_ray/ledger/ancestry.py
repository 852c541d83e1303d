"""What artifacts cost: each its own joules, beside its record; and with its ancestors', its embodied energy."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from collapse_ray.artifact.record import ArtifactEnergy, Kind, Record
from collapse_ray.artifact.store import Store
from collapse_ray.energy.accounts import QUALITIES
from collapse_ray.ledger.query import Ledger

KIND_OF_STAGE: dict[str, Kind] = {
    "ingest": "samples",
    "train": "model",
    "checkpoint": "model",
    "evaluate": "evaluation",
    "generate": "samples",
}
"""What each stage makes."""


def write_energies(store: Store, ledger: Ledger) -> int:
    """Writes beside every record what the ledger says that its artifact cost; returns how many changed.

    An artifact that was never published (its stage was interrupted and not taken up again) has no record to stand
    beside; its joules are in the ledger alone.
    """
    made = ledger.by(["artifact", "stage"]).dropna(subset=["artifact"])
    kinds: dict[str, Kind] = {row["artifact"]: KIND_OF_STAGE[row["stage"]] for row in made.to_dict("records")}
    costs = ledger.by(["artifact"]).set_index("artifact")
    changed = 0
    for fingerprint, kind in kinds.items():
        cost = costs.loc[fingerprint]
        energy_j = None if pd.isna(cost["energy_j"]) else float(cost["energy_j"])
        energy = ArtifactEnergy(energy_j, str(cost["quality"]), float(cost["unmeasured_s"]))
        if store.energy(kind, fingerprint) != energy and store.holds(kind, fingerprint):
            store.write_energy(kind, fingerprint, energy)
            changed += 1
    return changed


def embodied_energy(store: Store, kind: Kind, fingerprint: str) -> "Embodied":
    """Joules of an artifact and of everything that it was made from, each artifact once.

    Raises:
        StoreError: the record of the artifact or of an ancestor is missing.
    """
    own, ancestors = store.energy(kind, fingerprint), dict[tuple[Kind, str], ArtifactEnergy | None]()
    waiting: list[tuple[Kind, str]] = [(kind, fingerprint)]
    while waiting:
        place = waiting.pop()
        if place in ancestors:
            continue
        ancestors[place] = store.energy(*place)
        waiting.extend(_parents(store.record(*place)))
    known = [energy.energy_j for energy in ancestors.values() if energy is not None and energy.energy_j is not None]
    qualities = ["unmeasured" if energy is None else energy.quality for energy in ancestors.values()]
    return Embodied(
        own_j=None if own is None else own.energy_j,
        embodied_j=sum(known) if known else None,
        quality=max(qualities, key=[*QUALITIES].index),
        num_artifacts=len(ancestors),
        num_unmeasured=len(ancestors) - len(known),
    )


@dataclass(frozen=True)
class Embodied:
    """The energy in one artifact."""

    own_j: float | None
    """Of making it, its ancestors being there."""
    embodied_j: float | None
    """Of making it and all its ancestors; None where none of them was measured."""
    quality: str
    """The worst among them."""
    num_artifacts: int
    """It and its ancestors."""
    num_unmeasured: int
    """Of these without any joules: where not 0, `embodied_j` is a lower bound."""


def _parents(record: Record) -> Iterator[tuple[Kind, str]]:
    for role, fingerprint in record.parents.items():
        # Roles: `samples-3` (a part of the pool), `holdout`, `model`, `previous` (a model that training started from).
        kind: Kind = "samples" if role.startswith("samples") or role == "holdout" else "model"
        yield kind, fingerprint
