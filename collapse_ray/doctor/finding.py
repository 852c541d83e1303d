"""What a check says of a node: how it is, what was found, and what mends it."""

from dataclasses import dataclass
from enum import StrEnum

DRIVER = "driver"
"""What a finding calls the process that examines, where it is about that one."""


class Status(StrEnum):
    """From best to worst."""

    not_applicable = "not applicable"
    ok = "ok"
    warning = "warning"
    fault = "fault"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    node: str
    """Name of the node, or `DRIVER`."""
    status: Status
    found: str
    """What there is, in words and figures."""
    fix: str = ""
    """What to do; empty where nothing is wrong."""
