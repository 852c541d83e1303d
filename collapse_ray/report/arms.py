"""Arms: lineages of a store that differ in their seed alone, and are therefore averaged and drawn together."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput, did_you_mean
from collapse_ray.config.payload import Payload
from collapse_ray.lineage.index import id_of
from collapse_ray.report.results import indices


@dataclass(frozen=True)
class Arm:
    """Replicates of one lineage.

    `label` is the lineages' name, with the digits of the first one's fingerprint where another arm has the same name.
    `indices` are the documents of the lineages in the order of their seeds.
    """

    label: str
    indices: tuple[dict[str, Any], ...]
    payload: Payload

    @property
    def lineages(self) -> list[str]:
        """The lineages as the results name them."""
        return [id_of(index) for index in self.indices]

    @property
    def source(self) -> dict[str, Any]:
        """Identity of the real data's source."""
        return self.indices[0]["identity"]["source"]

    @property
    def family(self) -> str:
        return self.indices[0]["identity"]["family"]["kind"]

    @property
    def diverged(self) -> dict[str, int]:
        """The lineages that diverged, and the generation in which each did."""
        return {id_of(index): len(index["generations"]) for index in self.indices if index["verdict"] == "diverged"}


def read_arms(store: Store, names: Collection[str] | None = None) -> list[Arm]:
    """The arms of a store, in the order of their labels.

    Args:
        store: holds the lineages.
        names: only lineages of these names; None for all.

    Raises:
        InvalidInput: the store has no lineages, or none of one of the names.
        StoreError: the record of a lineage's real data is missing.
    """
    found = indices(store)
    for name in names or ():
        if name not in (known := {index["name"] for index in found}):
            raise InvalidInput(f"the store {store} has no lineage named {name!r}; {did_you_mean(name, known)}")
    groups: dict[str, list[dict[str, Any]]] = {}
    for index in found:
        if names is None or index["name"] in names:
            groups.setdefault(_key(store, index), []).append(index)
    num_arms = Counter(group[0]["name"] for group in groups.values())
    arms = [_arm(store, group, unique=num_arms[group[0]["name"]] == 1) for group in groups.values()]
    return sorted(arms, key=lambda arm: arm.label)


def by_source(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms on the same real data together: only these are comparable."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(fingerprint([arm.source, arm.payload.to_json()]), []).append(arm)
    return list(groups.values())


def _key(store: Store, index: dict[str, Any]) -> str:
    """What the seeds of an arm share. The content of the real data belongs to it: a file may have been edited."""
    identity = {name: value for name, value in index["identity"].items() if name != "seed"}
    content = store.record("samples", index["train_samples"]).identity["content"]
    content = {name: value for name, value in content.items() if name != "seed"}
    return fingerprint([index["name"], identity, content])


def _arm(store: Store, group: list[dict[str, Any]], *, unique: bool) -> Arm:
    group = sorted(group, key=lambda index: index["seed"])
    payload = store.record("samples", group[0]["train_samples"]).realised["payload"]
    label = group[0]["name"] if unique else id_of(group[0])
    return Arm(label, tuple(group), Payload.from_json(payload))
