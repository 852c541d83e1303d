"""What stages cost before, from the records of a store."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from collapse_ray.artifact.record import Kind, Record, StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.search.plan.estimate import Estimate, rate_of
from collapse_ray.search.plan.walk import Artifact
from collapse_ray.search.plan.workload import Workload, recorded

Quantity = Literal["duration_s", "energy_j", "num_bytes"]

OTHER_SETTINGS = 4.0
"""Factor by which an interval is widened on both sides where records are of other settings."""


@dataclass(frozen=True)
class Measured:
    """A stage that was done, and what it cost."""

    workload: Workload
    duration_s: float
    energy_j: float | None
    num_bytes: float


class History:
    """Rates of stages that were done."""

    def __init__(self, measured: Iterable[Measured]) -> None:
        self._same: dict[str, list[Measured]] = defaultdict(list)
        self._similar: dict[tuple[str, str], list[Measured]] = defaultdict(list)
        for each in measured:
            self._same[each.workload.settings].append(each)
            self._similar[each.workload.stage, each.workload.family].append(each)
        self._rates: dict[tuple[str, Quantity], Estimate | None] = {}

    def estimate(self, workload: Workload, quantity: Quantity) -> Estimate | None:
        """What a stage will cost: at the rate of its own settings, else of those most like them; None without any.

        Bytes are told by the same settings alone: those of others are better counted.
        """
        key = (workload.settings, quantity)
        if key not in self._rates:
            self._rates[key] = self._rate(workload, quantity)
        rate = self._rates[key]
        if rate is None:
            return None
        if quantity == "num_bytes":
            return rate.times(workload.kept)
        return rate.times(workload.amount if rate.basis == "records" else workload.scale)

    def _rate(self, workload: Workload, quantity: Quantity) -> Estimate | None:
        same, similar = self._same[workload.settings], self._similar[workload.stage, workload.family]
        if quantity == "num_bytes":
            known = [(each.num_bytes, each.workload.kept) for each in same]
            return rate_of(known) if known else None
        known = [(cost, each.workload.amount) for each in same if (cost := _cost(each, quantity)) is not None]
        if known:
            return rate_of(known)
        # A model that diverged has no weights, and does not tell its size.
        sized = [each for each in similar if each.workload.scale > 0]
        known = [(cost, each.workload.scale) for each in sized if (cost := _cost(each, quantity)) is not None]
        return rate_of(known, widen=OTHER_SETTINGS, basis="similar records") if known else None


def _cost(measured: Measured, quantity: Quantity) -> float | None:
    return measured.duration_s if quantity == "duration_s" else measured.energy_j


@dataclass(frozen=True)
class Past:
    """The records of a store."""

    history: History
    num_read: int
    num_unread: int
    """Torn, or of another schema version: left out."""


def read_past(store: Store) -> Past:
    """Reads all records and joules of a store; an empty one has none.

    Raises:
        StoreError: the store cannot be listed.
    """
    records: dict[Artifact, Record] = {}
    num_unread = 0
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        for of in store.fingerprints(kind):
            try:
                records[kind, of] = store.record(kind, of)
            except StoreError:
                num_unread += 1
    workloads = {key: recorded(record, records) for key, record in records.items()}
    measured = [_measured(store, records[key], workload) for key, workload in workloads.items() if workload is not None]
    return Past(History(measured), len(records), num_unread)


def _measured(store: Store, record: Record, workload: Workload) -> Measured:
    energy = store.energy(record.kind, record.fingerprint)
    whole = energy is not None and energy.quality != "unmeasured"  # else its joules are a lower bound
    num_bytes = len(record.to_json()) + sum(entry.num_bytes for entry in record.files)
    return Measured(workload, record.duration_s, energy.energy_j if energy and whole else None, num_bytes)
