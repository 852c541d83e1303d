"""Names of processes: an identifier alone may be given to another process later."""

import psutil


def process_name(process: psutil.Process) -> str:
    """Names a process of this node for good."""
    return f"{process.pid}@{process.create_time():.2f}"


def with_ancestors(pid: int) -> list[str]:
    """Names of a process and of its ancestors; empty where it is gone, or in another PID namespace."""
    try:
        process = psutil.Process(pid)
        return [process_name(one) for one in (process, *process.parents())]
    except psutil.NoSuchProcess:
        return []
