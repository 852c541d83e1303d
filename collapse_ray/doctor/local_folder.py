"""Stores that are folders of a node, seen as such."""

from pathlib import Path

from pyarrow import fs

from collapse_ray.artifact.store import Store


def local_folder(store: Store) -> Path | None:
    """Where the store is on this node; None where it is no folder (s3://…)."""
    filesystem, root = fs.FileSystem.from_uri(store.uri)
    return Path(root) if isinstance(filesystem, fs.LocalFileSystem) else None


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
