"""A folder of this user on this node: what is in it outlives processes and clusters, and not the node."""

import os
import tempfile
from pathlib import Path


def node_folder() -> Path:
    """The same folder for all processes of this user on this node; nobody else may have put anything there.

    Where somebody else has taken its name, a new folder, in which nothing is found.
    """
    folder = Path(tempfile.gettempdir()) / f"collapse-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix="collapse-ray-"))
    return folder
