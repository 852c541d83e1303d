"""Checkpoints inside one training stage, kept in the store until the stage is published."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from collapse_ray.artifact.store import Store
from collapse_ray.train.group import Group

log = logging.getLogger(__name__)


def checkpoints_of(stage: str) -> str:
    """The store's folder of a stage's checkpoints, which nobody needs once the stage is published."""
    return f"checkpoints/{stage}"


class Saveable(Protocol):
    """What can be checkpointed: every rank writes and reads its own files below a local folder."""

    def save(self, folder: str, step: int) -> None: ...

    def load(self, folder: str) -> int: ...


class StageCheckpoints:
    """The newest complete checkpoint of one stage.

    DeepSpeed needs a local folder, so every rank writes one and copies its files into the store; the commit document is
    written by rank 0 after all copies. Optimiser shards fit one world size only, so that is part of the key.
    """

    def __init__(
        self,
        store: Store,
        stage: str,
        execution_key: str,
        group: Group,
        saving: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Checkpoints of a stage.

        Args:
            store: where they are kept.
            stage: fingerprint of the artifact that the stage will publish.
            execution_key: whatever decides the files' form (world size, ZeRO stage).
            group: the ranks.
            saving: entered while a checkpoint is written, to tell its cost apart.
        """
        self._store = store
        self._group = group
        self._root = checkpoints_of(stage)
        self._commit = f"{self._root}/{execution_key}.json"
        self._key = execution_key
        self._saving = saving

    def save(self, target: Saveable, step: int) -> None:
        """Writes a checkpoint and drops the one before it."""
        with self._saving():
            self._save(target, step)

    def _save(self, target: Saveable, step: int) -> None:
        previous = self._committed()
        folder = f"{self._root}/{self._key}-{step}"
        with self._local() as local:
            target.save(local, step)
            self._store.upload_folder(local, folder)
        self._group.barrier()
        if self._group.rank == 0:
            self._store.write_document(self._commit, json.dumps({"folder": folder}).encode())
            if previous is not None and previous != folder:
                self._store.delete_folder(previous)

    def restore(self, target: Saveable) -> int:
        """Restores the newest checkpoint; returns its step, 0 where there is none."""
        folder = self._group.broadcast(self._committed())
        if folder is None:
            if self._group.rank == 0 and (others := self._store.list_documents(self._root)):
                log.warning(
                    "starting the stage over: its checkpoint is of %s, and this run needs one of %s",
                    ", ".join(Path(other).stem for other in others),
                    self._key,
                )
            return 0
        with self._local() as local:
            self._store.download_folder(folder, local)
            return target.load(local)

    def _committed(self) -> str | None:
        content = self._store.read_document(self._commit)
        return None if content is None else json.loads(content)["folder"]

    @contextmanager
    def _local(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="collapse-checkpoint-") as folder:
            yield folder
            # A rank that leaves early would remove files that DeepSpeed's rank 0 still lists.
            self._group.barrier()
