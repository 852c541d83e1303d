"""Look up a stage's artifact, else compute it with all ranks and publish it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from collapse_ray.artifact.record import FileEntry, Kind, Record
from collapse_ray.artifact.store import Attempt, Store
from collapse_ray.lineage.naming import Name
from collapse_ray.train.checkpoints import checkpoints_of
from collapse_ray.train.group import Group

Body = Callable[[Attempt], dict[str, Any]]
"""Computes on every rank; returns this rank's `files`, and fields of the record, of which rank 0's count."""


class Tell(Protocol):
    """Says what becomes of a stage; `artifact` when it begins or was found, `record` when there is one."""

    def __call__(
        self,
        generation: int,
        stage: str,
        *,
        artifact: str | None = None,
        reused: bool = False,
        record: Record | None = None,
    ) -> None: ...


class MarkStage(Protocol):
    """Marks a block as work on a stage, for the energy ledger."""

    def __call__(self, generation: int, stage: str, artifact: str) -> AbstractContextManager[None]: ...


class Claims(Protocol):
    """Grants the right to compute an artifact to one process at a time, where several share a store."""

    def take(self, key: str) -> bool:
        """Whether this process may compute what has the fingerprint `key`; waits a moment while another one does."""
        ...

    def release(self, key: str) -> None:
        """This process does not compute it any more, published or not."""
        ...


class NoClaims:
    """For a process that computes alone."""

    def take(self, key: str) -> bool:
        return True

    def release(self, key: str) -> None:
        pass


NO_CLAIMS = NoClaims()


class Publisher:
    """Every method is called by all ranks alike; rank 0 looks up and publishes, and the others hear of it."""

    def __init__(self, store: Store, group: Group, tell: Tell, mark: MarkStage, claims: Claims) -> None:
        self._store = store
        self._group = group
        self._tell = tell
        self._mark = mark
        self._claims = claims
        self._restore: dict[tuple[Kind, int], Callable[[], Record]] = {}

    def record(self, name: Name, body: Body) -> Record:
        """The published record, even where a retention policy removed its files: they may never be needed again.

        Args:
            name: of the artifact.
            body: computes it.
        """
        ensure = partial(self._ensure, name, body)
        self._restore[name.kind, name.generation] = partial(ensure, need_files=True)
        return ensure(need_files=False)

    def with_files(self, kind: Kind, generation: int) -> Record:
        """A record that `record` gave before, with its files: computed again where they were removed."""
        return self._restore[kind, generation]()

    def _ensure(self, name: Name, body: Body, *, need_files: bool) -> Record:
        kind, key, generation, stage = name.kind, name.fingerprint, name.generation, name.stage
        lead = self._group.rank == 0
        found, attempt = None, None
        while found is None and attempt is None:  # another process computes it
            found, attempt = self._group.broadcast(self._find_or_begin(kind, key, need_files) if lead else (None, None))
        if found is not None:
            if not need_files:
                self._tell(generation, stage, artifact=key, reused=True, record=found)
            return found
        assert attempt is not None
        try:
            self._tell(generation, stage, artifact=key)
            with self._mark(generation, stage, key):
                published = self._group.broadcast(self._compute(attempt, name, body))
        finally:
            if lead:
                self._claims.release(key)
        assert published is not None
        self._tell(generation, stage, record=published)
        return published

    def _compute(self, attempt: Attempt, name: Name, body: Body) -> Record | None:
        """The record on rank 0, once it is published; None on the others."""
        begin = time.monotonic()
        with self._store.removing(attempt):
            outcome = body(attempt)
        parts: list[list[FileEntry]] = self._group.gather(outcome.pop("files"))
        if self._group.rank != 0:
            return None
        record = Record(
            kind=attempt.kind,
            fingerprint=attempt.fingerprint,
            identity=name.identity,
            parents=name.parents,
            files=tuple(sorted((entry for part in parts for entry in part), key=lambda entry: entry.name)),
            duration_s=time.monotonic() - begin,
            **outcome,
        )
        published = self._store.publish(attempt, record)
        self._store.delete_folder(checkpoints_of(attempt.fingerprint))
        return published

    def _find_or_begin(self, kind: Kind, key: str, need_files: bool) -> tuple[Record | None, Attempt | None]:
        """What is published, or a place to compute it; neither while another process is at it."""
        found = self._store.find(kind, key, need_files=need_files)
        if found is not None or not self._claims.take(key):
            return found, None
        found = self._store.find(kind, key, need_files=need_files)  # that process may just have published it
        if found is None:
            return None, self._store.begin(kind, key)
        self._claims.release(key)
        return found, None
