"""The ledger of a store as an actor: of no CPUs, in a process of its own, restarted from its journal. A Ray seam."""

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from collapse_ray.artifact.record import StoreError
from collapse_ray.ledger.batch import Ack, Resume
from collapse_ray.ledger.names import ledger_name, short_id
from collapse_ray.ledger.node_folder import node_folder
from collapse_ray.ledger.rows import unpack
from collapse_ray.ledger.taken_files import TakenFiles
from collapse_ray.train.shared_actors import shared_actor, store_key

if TYPE_CHECKING:  # meters load this module with the actor's handle, and stay small
    from collapse_ray.artifact.store import Store
    from collapse_ray.ledger.counters import Counters
    from collapse_ray.ledger.query import Group, Sums

log = logging.getLogger(__name__)

FLUSH_S = 10.0
"""Time between segments: batches are acknowledged as durable that late, and kept by their meters until then."""
LINGER_S = 60.0
"""A ledger that nobody talked to for so long ends: an actor of no CPUs still keeps its node from being released."""
TASK_RETRIES = 3


@ray.remote(  # pyright: ignore[reportCallIssue] - its stub lacks concurrency_groups
    num_cpus=0,
    max_restarts=-1,
    max_task_retries=TASK_RETRIES,
    concurrency_groups={"store": 32},  # meters that start at once wait for one segment
    enable_task_events=False,  # a thousand nodes would make a thousand a second, and Ray keeps them all on the head
)
class LedgerActor:
    """Takes batches from meters, and makes them durable every few seconds.

    What waits for the store has threads of its own, so that batches are taken meanwhile.
    """

    def __init__(self, store: "Store", flush_s: float = FLUSH_S, linger_s: float = LINGER_S) -> None:
        from collapse_ray.ledger.book import Book  # noqa: PLC0415 - 30 MB, which meters do not need

        self._counters = _counters(store)
        self._book = Book(store, on_durable=self._counters.count)
        self._taken = TakenFiles(node_folder(), ledger_name(store_key(store)))
        for packed in self._taken.found():
            self._book.take(unpack(packed))
        self._flush_s, self._linger_s = flush_s, linger_s
        self._heard_s = time.monotonic()
        self._failure: Exception | None = None
        threading.Thread(target=self._tend, name="collapse-ledger", daemon=True).start()

    def submit(self, packed: bytes) -> Ack:
        """Takes a batch as `rows.pack` makes it; sent again, it counts once."""
        if self._failure is not None:
            raise self._failure
        self._heard_s = time.monotonic()
        ack = self._book.take(unpack(packed))
        self._taken.add(packed)
        return ack

    def hold(self) -> None:
        """It is needed, though no meter may have anything to tell."""
        self._heard_s = time.monotonic()

    @ray.method(concurrency_group="store")
    def resume(self, node: str, meter: str | None = None) -> Resume:
        """What the next meter of a node takes over; see `Book.resume`."""
        self._heard_s = time.monotonic()
        return self._book.resume(node, meter)

    @ray.method(concurrency_group="store")
    def flush(self) -> None:
        """Makes all that was taken durable."""
        with self._taken.written():
            self._book.flush()

    @ray.method(concurrency_group="store")
    def totals(self) -> "dict[Group, Sums]":
        """Energy and time so far; see `Book.totals`."""
        return self._book.totals()

    def _tend(self) -> None:
        """Flushes in time, merges segments now and then, and ends the actor when nobody needs it any more."""
        while True:
            time.sleep(self._flush_s)
            self._show_nodes()
            try:
                if not self._is_idle():
                    with self._taken.written():
                        self._book.flush()
                    self._book.compact()
                    continue
                with self._taken.written():
                    self._book.close()
                if self._is_idle():
                    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
                    return
            except StoreError as error:
                log.warning("the energy ledger could not be written, which is tried again: %s", error)
            except Exception as error:
                self._failure = error  # the meters hear of it, and keep what they have
                raise

    def _show_nodes(self) -> None:
        """Tells Prometheus how far each node is behind; those that have left are so no more."""
        try:
            alive = tuple(short_id(node["NodeID"]) for node in ray.nodes() if node["Alive"])
        except RayError as error:
            log.warning("it is not known which nodes have left, which is asked again: %s", error)
            return
        for node in self._counters.nodes:
            if not node.endswith(alive):
                self._counters.forget(node)
        self._counters.show_lag(time.time())

    def _is_idle(self) -> bool:
        return time.monotonic() - self._heard_s > self._linger_s


def _counters(store: "Store") -> "Counters":
    """For Prometheus, from the totals of the journal on."""
    from collapse_ray.ledger.counters import Counters, journal_kinds, journal_totals  # noqa: PLC0415
    from collapse_ray.ledger.query import read_ledger  # noqa: PLC0415

    key = store_key(store)
    try:
        ledger = read_ledger(store)
    except StoreError as error:
        log.warning("Prometheus is told of new joules only, because those of the journal cannot be read: %s", error)
        return Counters(key, {}, {})
    return Counters(key, journal_totals(ledger), journal_kinds(ledger))


def start_ledger(store: "Store", key: str) -> Any:
    """The ledger of a store: the one that runs on the cluster, or a new one.

    It ends `LINGER_S` after the last meter and driver.
    """
    return shared_actor(LedgerActor, ledger_name(key)).remote(store)
