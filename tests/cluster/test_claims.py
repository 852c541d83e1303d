"""Claims on artifacts: one living process at a time, of all jobs of a cluster, whatever dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle

from collapse_ray.artifact.store import Store
from collapse_ray.lineage.claims import LINGER_S, RayClaims, claims_on
from collapse_ray.train.shared_actors import NAMESPACE

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

    def take_all(self, keys: list[str]) -> bool:
        return all(self._claims.take(key) for key in keys)

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


@pytest.fixture
def claims(tmp_path: Path) -> RayClaims:
    """Of a store of its own."""
    return claims_on(Store(str(tmp_path)))


def actor(claims: RayClaims) -> Any:
    return ray.get_actor(claims.name, NAMESPACE)


def held(claims: RayClaims) -> set[str]:
    return set(ray.get(actor(claims).held.remote()))


def test_an_artifact_is_granted_to_one_at_a_time(claims: RayClaims) -> None:
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
    assert held(claims) == {"a", "b"}


def test_a_busy_holder_keeps_its_claim_and_a_dead_one_loses_it(claims: RayClaims) -> None:
    one, other = processes(claims, 2)
    pid: Any = ray.get(one.pid.remote())
    assert ray.get(one.take.remote("a"))
    one.busy.remote(1000)
    assert not ray.get(other.take_within.remote("a", 3))
    os.kill(pid, signal.SIGKILL)
    assert ray.get(other.take_within.remote("a", 30))


def test_a_restarted_claims_actor_knows_who_computes(claims: RayClaims) -> None:
    one, other = processes(claims, 2)
    assert ray.get(one.take.remote("a"))
    ray.kill(actor(claims), no_restart=False)
    assert not ray.get(other.take_within.remote("a", 8))
    assert held(claims) == {"a"}
    ray.get(one.release.remote("a"))
    assert ray.get(other.take_within.remote("a", 30))


def test_many_may_compute_at_once(claims: RayClaims) -> None:
    """More than the 1,000 calls that an actor of Ray's has under way by default."""
    one, other = processes(claims, 2)
    assert ray.get(one.take_all.remote([f"{number}" for number in range(1100)]))
    assert ray.get(other.take.remote("a"), timeout=30)
    assert not ray.get(other.take.remote("1099"), timeout=30)


def test_the_actor_ends_with_the_last_claim_and_is_replaced(claims: RayClaims) -> None:
    one, other = processes(claims, 2)
    assert ray.get(one.take.remote("a"))
    before: Any = actor(claims)
    time.sleep(LINGER_S + 2)
    assert held(claims) == {"a"}, "it ended although somebody computes"
    ray.get(one.release.remote("a"))
    until_s = time.monotonic() + 60
    while lives(claims):
        assert time.monotonic() < until_s, "it has not ended"
        time.sleep(0.2)
    assert ray.get(other.take.remote("b"))
    assert ray.get(one.take.remote("c"))
    assert held(claims) == {"b", "c"}
    assert actor(claims) != before


def lives(claims: RayClaims) -> bool:
    try:
        actor(claims)
    except ValueError:
        return False
    return True


def test_runs_at_once_compute_each_stage_once(spec_file: Path, tmp_path: Path) -> None:
    """Two jobs of one cluster, of the same lineage: each stage is computed by one of them, and found by the other."""
    address = ray.get_runtime_context().gcs_address
    run = [sys.executable, "-m", "collapse_ray.cli.main", "run", str(spec_file), f"run.store={tmp_path / 'store'}"]
    run += ["depth=2", f"run.address={address}", "run.workers=1", "run.cpus_per_worker=0.5", "run.meter.enabled=false"]
    runs = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    logs = [process.communicate(timeout=300)[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], logs
    stages = Counter(re.findall(r"(generation \d  \w+)( +already published)?$", "\n".join(logs), re.MULTILINE))
    assert len(stages) == 2 * 5  # the last generation is not sampled
    assert set(stages.values()) == {1}, stages
