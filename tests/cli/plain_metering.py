"""The ledger and a node's meter in this process, as marks for lineages that run without Ray."""

import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Marker, Work
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.node_meter import NodeMeter
from collapse_ray.train.group import Group


class PlainMarks:
    """Marks that go straight to a meter of this process."""

    def __init__(self, meter: NodeMeter) -> None:
        self._meter = meter

    def of_driver(self) -> Marker:
        return self

    def of_worker(self, group: Group) -> Marker:
        return self

    def working(self, work: Work) -> AbstractContextManager[None]:
        return self._block(work)

    @contextmanager
    def _block(self, work: Work) -> Iterator[None]:
        token = uuid.uuid4().hex
        self._meter.begin(token, work, worker="here", cpus=1.0, time_s=time.monotonic())
        try:
            yield
        finally:
            self._meter.end(token, time.monotonic())


@contextmanager
def metered_here(store: Store, node: str = "node-a") -> Iterator[PlainMarks]:
    """Meters this process into the ledger of a store, until the block ends."""
    book = Book(store)
    meter = NodeMeter(node, book.submit, interval_s=0.2, estimate=True)
    meter.start()
    try:
        yield PlainMarks(meter)
    finally:
        assert meter.close()
        book.close()
