"""Space: of Ray's folder, of a store that is a folder, and of shared memory."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collapse_ray.artifact.store import Store
from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.local_folder import local_folder, nearest_existing
from collapse_ray.doctor.site import Node, Site

GIB = 2**30
FULL_BYTES = 1 * GIB
"""A disk with less is full: one checkpoint may be larger."""
LOW_BYTES = 10 * GIB
SHARED_BYTES = 128 * 2**20
"""Shared memory that NCCL and torch's processes need at the least; a container has 64 MiB by default."""
RAY_FULL = "RAY_local_fs_capacity_threshold"
RAY_FULL_FRACTION = 0.95
"""Ray's default: above it, a node takes no more objects onto its disk, and tasks that make them fail."""


@dataclass(frozen=True)
class Space:
    """One file system."""

    path: str
    total_bytes: int
    free_bytes: int
    """For this user."""

    @property
    def used_fraction(self) -> float:
        return 1 - self.free_bytes / self.total_bytes


@dataclass(frozen=True)
class Disks:
    """All of one node."""

    ray: Space
    ray_full_fraction: float
    """Where Ray takes the disk for full."""
    store: Space | None
    """None where the store is no folder, or none was given."""
    shared_memory: Space | None
    """None where the node has no /dev/shm."""
    object_store_bytes: int
    """What Ray's object store may take, of shared memory if that is large enough."""


class Examination(Check[dict[str, Disks]]):
    """Sizes on every node."""

    def examine(self, site: Site) -> dict[str, Disks]:
        return site.each(probe, None if site.store is None else Store(site.store))

    def judge(self, facts: dict[str, Disks]) -> Iterator[Finding]:
        for node, disks in facts.items():
            problems = [*_ray(node, disks), *_store(node, disks), *_shared_memory(node, disks)]
            spaces = [space for space in (disks.ray, disks.store, disks.shared_memory) if space is not None]
            free = ", ".join(f"{space.path} {_say(space.free_bytes)}" for space in spaces)
            yield from problems or [Finding(node, Status.ok, f"free: {free}")]


def _ray(node: str, disks: Disks) -> Iterator[Finding]:
    space, fix = disks.ray, "free space there, or start Ray with --temp-dir on a larger disk"
    full = f"Ray takes it for full when more than {disks.ray_full_fraction:.4g} of it is in use"
    if space.used_fraction > disks.ray_full_fraction or space.free_bytes < FULL_BYTES:
        found = f"the disk of Ray's folder is full: {_of(space)}; {full}"
        yield Finding(node, Status.fault, found, fix)
    elif space.free_bytes < LOW_BYTES:
        yield Finding(node, Status.warning, f"the disk of Ray's folder is nearly full: {_of(space)}", fix)


def _store(node: str, disks: Disks) -> Iterator[Finding]:
    space, fix = disks.store, "free space there, keep less (run.keep=last:2), or give another store"
    if space is None or space.free_bytes >= LOW_BYTES:
        return
    if space.free_bytes < FULL_BYTES:
        yield Finding(node, Status.fault, f"the disk of the store is full: {_of(space)}", fix)
    else:
        yield Finding(node, Status.warning, f"the disk of the store is nearly full: {_of(space)}", fix)


def _shared_memory(node: str, disks: Disks) -> Iterator[Finding]:
    space = disks.shared_memory
    fix = "docker run --shm-size=…, or a memory volume at /dev/shm of 0.3 of the pod's memory (cluster/kuberay)"
    if space is None:
        yield Finding(node, Status.fault, "there is no /dev/shm", fix)
    elif space.free_bytes < SHARED_BYTES:
        yield Finding(node, Status.fault, f"shared memory is full: {_of(space)}", fix)
    elif space.total_bytes < disks.object_store_bytes:
        found = f"{_of(space)}: less than Ray's object store of {_say(disks.object_store_bytes)}, which is on disk now"
        yield Finding(node, Status.warning, found, fix)


def probe(node: Node, store: Store | None) -> Disks:
    """Sizes on this node."""
    folder = None if store is None else local_folder(store)
    shared_memory = Path("/dev/shm")  # noqa: S108 (it is measured, not written)
    return Disks(
        ray=_space(Path(node.ray_folder)),
        ray_full_fraction=float(os.environ.get(RAY_FULL, RAY_FULL_FRACTION)),
        store=None if folder is None else _space(folder),
        shared_memory=_space(shared_memory) if shared_memory.exists() else None,
        object_store_bytes=node.object_store_bytes,
    )


def _space(path: Path) -> Space:
    usage = shutil.disk_usage(nearest_existing(path))
    return Space(str(path), usage.total, usage.free)


def _of(space: Space) -> str:
    return f"{space.path} has {_say(space.free_bytes)} free of {_say(space.total_bytes)}"


def _say(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 2**20:.0f} MiB"
