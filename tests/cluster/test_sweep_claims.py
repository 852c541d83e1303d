"""Claims on artifacts: one living process at a time, whatever dies."""

import os
import signal
import sys
import time
from typing import Any

import pytest
import ray
from ray import cloudpickle

from collapse_ray.search.claims import RayClaims, start_claims

# Ray's processes cannot import what lies beside a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


@ray.remote(num_cpus=0)
class Process:
    """A process that computes artifacts."""

    def __init__(self, claims: RayClaims) -> None:
        self._claims = claims

    def take(self, key: str) -> bool:
        return self._claims.take(key)

    def take_within(self, key: str, seconds: float) -> bool:
        until_s = time.monotonic() + seconds
        while not self._claims.take(key):
            if time.monotonic() > until_s:
                return False
        return True

    def release(self, key: str) -> None:
        self._claims.release(key)

    def busy(self, seconds: float) -> None:
        time.sleep(seconds)

    def pid(self) -> int:
        return os.getpid()


def processes(claims: RayClaims, count: int) -> list[Any]:
    process: Any = Process
    return [process.remote(claims) for _ in range(count)]


def test_an_artifact_is_granted_to_one_at_a_time() -> None:
    claims = start_claims("test")
    one, other = processes(claims, 2)
    assert ray.get(one.take.remote("a"))
    assert ray.get(one.take.remote("a")), "asked twice, the holder has it"
    assert not ray.get(other.take.remote("a"))
    assert ray.get(other.take.remote("b"))
    waiting = other.take_within.remote("a", 30)
    one.release.remote("a")
    one.release.remote("a")
    assert ray.get(waiting)
    assert not ray.get(one.take.remote("a"))
    ray.get(one.release.remote("a"))  # which it does not hold
    assert set(ray.get(claims.actor.held.remote())) == {"a", "b"}


def test_a_busy_holder_keeps_its_claim_and_a_dead_one_loses_it() -> None:
    claims = start_claims("test")
    one, other = processes(claims, 2)
    pid: Any = ray.get(one.pid.remote())
    assert ray.get(one.take.remote("a"))
    one.busy.remote(1000)
    assert not ray.get(other.take_within.remote("a", 3))
    os.kill(pid, signal.SIGKILL)
    assert ray.get(other.take_within.remote("a", 30))


def test_a_restarted_claims_actor_knows_who_computes() -> None:
    claims = start_claims("test")
    one, other = processes(claims, 2)
    assert ray.get(one.take.remote("a"))
    ray.kill(claims.actor, no_restart=False)
    assert not ray.get(other.take_within.remote("a", 8))
    assert set(ray.get(claims.actor.held.remote())) == {"a"}
    ray.get(one.release.remote("a"))
    assert ray.get(other.take_within.remote("a", 30))
