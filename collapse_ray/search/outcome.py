"""What a sweep has come to, as a document of the store: `STORE/sweeps/<name>-<fingerprint>.json`."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from collapse_ray.artifact.record import OtherSchema, StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.config.load import validate
from collapse_ray.search.events import ENDED, State, SweepEvent
from collapse_ray.search.frontier.estimate import Frontier
from collapse_ray.search.spec import Sweep, SweepSpec
from collapse_ray.search.trial import Trial
from collapse_ray.search.verdict import Verdict

FOLDER = "sweeps"
SCHEMA_VERSION = 1

SweepState = Literal["running", "complete", "exhausted", "failed"]

STATES: dict[SweepState, str] = {
    "running": "it was interrupted; the same command completes it",
    "complete": "all that was asked is known",
    "exhausted": "its budget ended it before all that was asked is known; raise the budget to go on",
    "failed": "a lineage failed for good; its reason is above",
}
"""What each state of a sweep means."""


@dataclass(frozen=True)
class LineageOutcome:
    """One lineage of a sweep; its artifacts are in its own index."""

    point: dict[str, Any]
    seed: int
    state: State
    lineage: str | None = None
    """As results and the ledger name it; None where its real data was not published yet."""
    generation: int = 0
    """The latest one that was evaluated."""
    reason: str | None = None
    """Why it was stopped, or how it failed."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The profile at its end, by kind."""

    @classmethod
    def of(cls, event: SweepEvent) -> Self:
        """What the last event of a lineage said."""
        point, verdicts = dict(event.trial.point), dict(event.verdicts)
        return cls(point, event.trial.seed, event.state, event.lineage, event.generation, event.reason, verdicts)

    @property
    def trial(self) -> Trial:
        return Trial(self.point, self.seed)


@dataclass(frozen=True)
class SweepOutcome:
    """All lineages of a sweep so far, and the frontiers where its search looked for them."""

    state: SweepState
    lineages: tuple[LineageOutcome, ...]
    frontiers: tuple[Frontier, ...] = ()

    @property
    def stopped(self) -> frozenset[str]:
        """Ids of the lineages that were ended before their depth."""
        return frozenset(each.lineage for each in self.lineages if each.state == "stopped" and each.lineage)

    @property
    def ended(self) -> tuple[LineageOutcome, ...]:
        """The lineages that run no more."""
        return tuple(lineage for lineage in self.lineages if lineage.state in ENDED)


@dataclass(frozen=True)
class SweepDocument:
    """The outcome with what was asked."""

    name: str
    fingerprint: str
    id: str
    spec: dict[str, Any]
    """The sweep's keys, base included, without the store."""
    created_at: str
    updated_at: str
    outcome: SweepOutcome
    schema_version: int = SCHEMA_VERSION

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    @property
    def asked(self) -> SweepSpec:
        """What was asked.

        Raises:
            InvalidInput: another version of the package wrote the document.
        """
        return validate(SweepSpec, self.spec, f"{FOLDER}/{self.name}-{self.fingerprint}.json")


_DOCUMENT = TypeAdapter(SweepDocument)


def write_sweep(store: Store, sweep: Sweep, outcome: SweepOutcome) -> SweepDocument:
    """Writes the document, in one step; what it was created at stays."""
    path = f"{FOLDER}/{sweep.name}-{sweep.fingerprint}.json"
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    before = _read(store, path)
    created_at = now if before is None else before.created_at
    document = SweepDocument(sweep.name, sweep.fingerprint, sweep.id, sweep.spec.identity(), created_at, now, outcome)
    store.write_document(path, _DOCUMENT.dump_json(document, indent=1))
    return document


def read_sweep(store: Store, sweep: Sweep) -> SweepDocument | None:
    """The document of a sweep; None before it was first written."""
    return _read(store, f"{FOLDER}/{sweep.name}-{sweep.fingerprint}.json")


def read_sweeps(store: Store) -> list[SweepDocument]:
    """The documents of a store, those that were written last at the end."""
    paths = [path for path in store.list_documents(FOLDER) if path.endswith(".json")]
    found = [document for path in paths if (document := _read(store, path)) is not None]
    return sorted(found, key=lambda document: (document.updated_at, document.id))


def _read(store: Store, path: str) -> SweepDocument | None:
    content = store.read_document(path)
    if content is None:
        return None
    try:
        version = json.loads(content)["schema_version"]
        if version != SCHEMA_VERSION:
            raise OtherSchema(
                f"{path} has schema version {version}; this version of collapse-ray reads {SCHEMA_VERSION}. "
                "Use the version that wrote it, or remove the file: the lineages stay"
            )
        return _DOCUMENT.validate_json(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise StoreError(f"{path} cannot be read: {error}; remove it: the same sweep writes it again") from error
