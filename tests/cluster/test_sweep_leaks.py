"""Placement groups that trials leave behind, as Ray's State API shows them."""

import os
import signal
import sys
import time
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.util import placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from sweeps import placement_groups

from collapse_ray.search.reaper import Reaper, trial_bundle

# Ray's processes cannot import what lies beside a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


@ray.remote(num_cpus=0)
class LeakyTrial:
    """Makes placement groups as Ray Train does for it: nobody but the end of the job removes them."""

    def __init__(self) -> None:
        self._children: list[Any] = []

    def make(self, bundle: dict[str, float]) -> str:
        return placement_group([bundle]).id.hex()

    def fill(self, bundle: dict[str, float]) -> str:
        group, child = placement_group([bundle]), ray.remote(Child)
        strategy = PlacementGroupSchedulingStrategy(group)
        self._children.append(child.options(num_cpus=bundle["CPU"], scheduling_strategy=strategy).remote())
        ray.get(self._children[-1].__ray_ready__.remote())
        return group.id.hex()

    def pid(self) -> int:
        return os.getpid()


class Child:
    """A worker."""


def test_only_what_stays_empty_is_removed_while_trials_live() -> None:
    kind: Any = LeakyTrial
    before = placement_group([{"CPU": 0.1}])
    one, other = kind.remote(), kind.remote()
    pid: Any = ray.get(one.pid.remote())
    reaper = Reaper("LeakyTrial", empty_s=0.0)
    assert reaper.num_living == 2
    pending: Any = ray.get(one.make.remote({"CPU": 1000.0}))  # stopped while pending: it would wait for ever
    orphaned: Any = ray.get(one.fill.remote({"CPU": 0.1}))
    in_use: Any = ray.get(other.fill.remote({"CPU": 0.1}))
    of_tune: Any = ray.get(one.make.remote(trial_bundle()))
    assert look(reaper) == []
    os.kill(pid, signal.SIGKILL)
    until_s = time.monotonic() + 60
    while not (removed := look(reaper)):
        assert time.monotonic() < until_s
    assert removed == [orphaned]
    assert reaper.num_living == 1
    assert {pending, in_use, of_tune, before.id.hex()} <= set(placement_groups())
    ray.kill(other)
    assert sorted(reaper.reap_all()) == sorted([pending, in_use])
    left = placement_groups()
    assert {of_tune, before.id.hex()} <= set(left)
    assert not {pending, orphaned, in_use} & set(left)
    for group in (of_tune, before.id.hex()):
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group)))  # type: ignore[attr-defined]


def look(reaper: Reaper) -> list[str]:
    """At once, however short ago the last look was."""
    reaper._looked_s = float("-inf")
    return reaper.look()
