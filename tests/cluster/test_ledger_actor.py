"""The ledger on Ray: one for a store, restarted from its journal, gone when nobody needs it."""

import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import AccountKey
from collapse_ray.energy.series import Device
from collapse_ray.ledger.actor import LedgerActor, start_ledger
from collapse_ray.ledger.batch import Ack, Batch, DeviceTotal, Entry
from collapse_ray.ledger.check import check
from collapse_ray.ledger.journal import list_segments
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.rows import pack
from collapse_ray.train.shared_actors import NAMESPACE, store_key

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

GPU = Device("GPU-1", "H100", "gpu", "node")
WAIT_S = 60.0


def packed(number: int) -> bytes:
    """Batch `number` of a meter: one joule."""
    entry = Entry(AccountKey("idle", GPU.node, GPU.uuid), "counter", "exclusive", 1_000_000, 1.0, number, number + 1)
    total = DeviceTotal(GPU, 1_000_000 * number, None, "boot", number + 1.0)
    return pack(Batch("meter", GPU.node, number, (entry,), (total,), ()))


def submit(ledger: Any, number: int) -> Ack:
    """As a meter does: again, where the ledger was lost under way."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            return ray.get(ledger.submit.remote(packed(number)), timeout=WAIT_S)
        except RayActorError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def energy_j(store: Store) -> float:
    (total,) = read_ledger(store).by([]).to_dict("records")
    return total["energy_j"]


def test_a_killed_ledger_goes_on_from_its_journal(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ledger = start_ledger(store, store_key(store))
    assert [submit(ledger, number).durable for number in (1, 2)] == [0, 0]
    ray.get(ledger.flush.remote())
    assert submit(ledger, 3).durable == 2  # taken, and lost with the process
    life = ray.get(ledger.__ray_call__.remote(lambda actor: actor._book._journal.life))

    ray.kill(ledger, no_restart=False)

    assert submit(ledger, 4).durable == 2  # there is a hole: send again all that follows batch 2
    same = start_ledger(Store(str(tmp_path)), store_key(store))
    assert [submit(same, number).durable for number in (2, 3, 4)] == [2, 2, 2]
    assert ray.get(same.__ray_call__.remote(lambda actor: actor._book._journal.life)) != life
    told: Any = ray.get(same.resume.remote("node", "next"))
    assert told.totals[0].settled_uj == 4_000_000
    assert ray.get(same.totals.remote()) == {("idle", None, None, None): {"counter": (4_000_000, 4.0)}}
    assert energy_j(store) == 4.0
    assert check(store) == []
    ray.kill(same)


def test_a_ledger_that_nobody_needs_ends_with_all_durable(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    actor: Any = LedgerActor
    ledger = actor.options(name="lingers", namespace=NAMESPACE, lifetime="detached").remote(store, 0.2, 2.0)
    for number in range(1, 6):
        submit(ledger, number)
        time.sleep(0.3)
    deadline_s = time.monotonic() + WAIT_S
    with pytest.raises(ValueError, match="Failed to look up actor"):
        while time.monotonic() < deadline_s:
            ray.get_actor("lingers", NAMESPACE)
            time.sleep(0.1)
    assert energy_j(store) == 5.0
    assert len(list_segments(store)) == 1
    assert check(store) == []
