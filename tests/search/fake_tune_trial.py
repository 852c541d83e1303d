"""Stands for a trial of Tune."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TuneTrial:
    """What the adapters read of Tune's trial."""

    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)
    last_result: dict[str, Any] = field(default_factory=dict)
    status: str = "RUNNING"

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")
