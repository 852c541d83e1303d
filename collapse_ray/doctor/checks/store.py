"""The store: every node can write it, and it is one store, not a folder of the same name on each node."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from collapse_ray.artifact.files import STAGING
from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import DRIVER, Finding, Status
from collapse_ray.doctor.local_folder import local_folder
from collapse_ray.doctor.site import Node, Site

FOLDER = "doctor"
CONTENT = b"collapse doctor"
SHARE = "mount one file system at this path on every node, or give a URI that all reach (s3://…, gs://…)"


@dataclass(frozen=True)
class Seen:
    """What one node could do."""

    reads: bool
    """It finds what the driver wrote."""
    error: str | None = None
    """Why it cannot read or write."""


@dataclass(frozen=True)
class Facts:
    """What was written and read where."""

    store: str | None
    """None where no store was given."""
    error: str | None
    """Why the driver cannot write; then no node was asked."""
    nodes: dict[str, Seen]
    returned: frozenset[str]
    """The nodes of which the driver finds what they wrote."""


class Examination(Check[Facts]):
    """Writes here, reads there, and the reverse."""

    def examine(self, site: Site) -> Facts:
        if site.store is None:
            return Facts(None, None, {}, frozenset())
        store = Store(site.store)
        folder = f"{FOLDER}/{uuid.uuid4().hex}"
        with _without_trace(store, folder):
            try:
                store.write_document(f"{folder}/{DRIVER}", CONTENT)
            except StoreError as error:
                return Facts(str(store), str(error), {}, frozenset())
            seen = site.each(probe, store, folder)
            returned = {node.name for node in site.nodes if store.read_document(f"{folder}/{node.id}") == CONTENT}
        return Facts(str(store), None, seen, frozenset(returned))

    def judge(self, facts: Facts) -> Iterator[Finding]:
        if facts.store is None:
            yield Finding(DRIVER, Status.not_applicable, "no store was given", "collapse doctor --store FOLDER_OR_URI")
            return
        if facts.error is not None:
            yield Finding(DRIVER, Status.fault, facts.error, "the driver must be able to write the store")
        for node, seen in facts.nodes.items():
            if seen.error is not None:
                yield Finding(node, Status.fault, seen.error, SHARE)
            elif not seen.reads:
                found = f"{facts.store} is another store here: what the driver wrote there is not in it"
                yield Finding(node, Status.fault, found, SHARE)
            elif node not in facts.returned:
                found = f"{facts.store}: the driver does not find what this node wrote there"
                yield Finding(node, Status.fault, found, SHARE)
            else:
                yield Finding(node, Status.ok, f"{facts.store}: written here and read by the driver, and the reverse")


def probe(node: Node, store: Store, folder: str) -> Seen:
    """Reads the driver's document and writes one; where the store is another one, removes it again."""
    with _without_trace(store, None):
        try:
            reads = store.read_document(f"{folder}/{DRIVER}") == CONTENT
            store.write_document(f"{folder}/{node.id}", CONTENT)
            if not reads:  # the driver cannot remove what is in another store
                store.delete_folder(folder)
        except StoreError as error:
            return Seen(False, str(error))
    return Seen(reads)


@contextmanager
def _without_trace(store: Store, folder: str | None) -> Iterator[None]:
    """Removes `folder` in the end, and the empty folders above and beside it that were not there before."""
    root = local_folder(store)
    folders = [] if root is None else [root / STAGING, root / FOLDER, root, *root.parents]
    made = [path for path in folders if not path.exists()]
    try:
        yield
    finally:
        if folder is not None:
            store.delete_folder(folder)
        for path in made:
            _remove_empty(path)


def _remove_empty(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
