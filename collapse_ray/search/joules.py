"""What the ledger says of a sweep while it runs. A Ray seam."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from collapse_ray.artifact.store import Store
from collapse_ray.energy.accumulate import UJ_PER_J
from collapse_ray.ledger.names import ledger_name
from collapse_ray.ledger.query import energy_uj
from collapse_ray.train.shared_actors import NAMESPACE, store_key

log = logging.getLogger(__name__)

ASK_S = 5.0
"""Between two questions; meters settle their joules some seconds late."""


@dataclass(frozen=True)
class Joules:
    """Joules of a sweep; lineages without any are left out."""

    total_j: float
    by_lineage: dict[str, float]


class Joulemeter:
    """Asks the ledger of a store now and then, without waiting for it.

    Args:
        store: whose ledger.
        sweep: id.
    """

    def __init__(self, store: Store, sweep: str) -> None:
        self._name, self._sweep = ledger_name(store_key(store)), sweep
        self._answer: Any = None
        self._asked_s = -ASK_S

    def look(self) -> Joules | None:
        """The ledger's answer, when one has come; None otherwise."""
        if self._answer is not None:
            ready, _ = ray.wait([self._answer], timeout=0)
            return self._take(self._answer) if ready else None
        if time.monotonic() - self._asked_s >= ASK_S:
            self._ask()
        return None

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        try:
            self._answer = ray.get_actor(self._name, NAMESPACE).totals.remote()
        except ValueError:
            self._answer = None  # not started yet, or nobody meters

    def _take(self, answer: Any) -> Joules | None:
        self._answer = None
        try:
            totals: Any = ray.get(answer)
        except RayError as error:
            log.warning("the ledger did not say what the sweep has used, and is asked again: %s", error)
            return None
        total, by_lineage = 0, dict[str, int]()
        for (_, sweep, lineage, _), sums in totals.items():
            found = energy_uj(sums)
            if sweep == self._sweep and found is not None:
                total += found
                if lineage is not None:
                    by_lineage[lineage] = by_lineage.get(lineage, 0) + found
        return Joules(total / UJ_PER_J, {lineage: found / UJ_PER_J for lineage, found in by_lineage.items()})
