"""Removes placement groups that no living trial owns. A Ray seam.

Ray Train makes a placement group of its own for each worker group, which Tune does not know of. Ray removes it with the
job, and Train's cleaner when its controller has died; neither sees one that was still pending when its trial was
stopped. It then waits for ever, or takes GPUs as soon as some are free.
"""

import logging
import time
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.state import list_actors, list_placement_groups
from ray.util.state.exception import RayStateApiException

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Between two looks."""
EMPTY_S = 60.0
"""Train fills a placement group as soon as it has one: what stays empty for so long is nobody's."""
LIMIT = 10_000
"""Most rows that Ray's State API gives."""


class Reaper:
    """Looks after the placement groups of this job, as Ray's State API shows them.

    Args:
        trial: class name of the actors that the trials are.
        empty_s: how long a placement group may hold resources without an actor in it.
    """

    def __init__(self, trial: str, empty_s: float = EMPTY_S) -> None:
        context = ray.get_runtime_context()
        self._job, self._address = context.get_job_id(), context.gcs_address
        self._trial, self._empty_for_s = trial, empty_s
        self._others = {group.placement_group_id for group in self._groups()}
        """Of this job before the sweep."""
        self._empty_since_s: dict[str, float] = {}
        self._looked_s = time.monotonic()

    def look(self) -> list[str]:
        """Removes what was left by trials that were killed, while others go on; says what.

        One that waits for resources holds none: it is seen once it has some, or when the sweep ends.
        """
        now = time.monotonic()
        if now - self._looked_s < LOOK_S:
            return []
        self._looked_s = now
        try:
            return self._reap_empty(now)
        except (RayStateApiException, RayError) as error:
            log.warning("placement groups could not be listed, which is tried again: %s", error)
            return []

    def reap_all(self) -> list[str]:
        """Removes all that is left once no trial lives; says what.

        Raises:
            RayStateApiException: the dashboard, which knows, does not answer.
        """
        left = [group.placement_group_id for group in self._groups()]
        return self._remove(group for group in left if group not in self._others)

    @property
    def num_living(self) -> int:
        """Actors of trials that have not ended."""
        return sum(actor.class_name == self._trial for actor in self._actors())

    def _reap_empty(self, now: float) -> list[str]:
        groups = [group for group in self._groups() if group.placement_group_id not in self._others]
        # Listed after the groups: one that was made in between is not taken for empty.
        filled = {actor.placement_group_id for actor in self._actors()}
        created = {group.placement_group_id for group in groups if group.state == "CREATED"}
        self._empty_since_s = {group: self._empty_since_s.get(group, now) for group in created - filled}
        return self._remove(
            group for group, since_s in self._empty_since_s.items() if now - since_s >= self._empty_for_s
        )

    def _remove(self, groups: Iterable[str]) -> list[str]:
        removed = list(groups)
        for group in removed:
            log.warning("removing the placement group %s, which a trial left that runs no more", group)
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group)))
        return removed

    def _actors(self) -> list[Any]:
        filters: Any = [("job_id", "=", self._job), ("state", "!=", "DEAD")]
        return list_actors(self._address, filters=filters, limit=LIMIT, detail=True)

    def _groups(self) -> list[Any]:
        """Those that are not of Tune's trials, which Tune removes."""
        filters: Any = [("creator_job_id", "=", self._job), ("state", "!=", "REMOVED")]
        groups: list[Any] = list_placement_groups(self._address, filters=filters, limit=LIMIT, detail=True)
        return [group for group in groups if not _is_of_a_trial(group.bundles or [])]


def trial_bundle() -> dict[str, float]:
    """What a trial holds whose worker group holds all it needs: Tune wants it to hold something.

    A CPU's fraction would be missing to a read task of Ray Data, which takes a whole one and would wait for ever.
    """
    return {"memory": 1}


def _is_of_a_trial(bundles: list[dict[str, Any]]) -> bool:
    return [bundle["unit_resources"] for bundle in bundles] == [trial_bundle()]
