"""Whatever two ledgers, their meters and their failures do in turn, all that was made counts once."""

import contextlib
import tempfile
from dataclasses import dataclass, replace

import pytest
from batches import batch_of, bits
from fragile_store import Crash, FragileStore
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ledger_books import NOW, counted
from pyarrow import fs

from collapse_ray.artifact.record import StoreError
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check


@dataclass
class Model:
    """What a meter made, and may forget."""

    made: int = 0
    durable: int = 0


@dataclass(frozen=True)
class Step:
    """Meters send; a ledger is flushed or compacted; something happens in the middle of that."""

    sends: int
    """Bits: to which ledgers the meter sends."""
    more: int
    """New batches."""
    ledger: int
    compacts: bool
    after: int
    """Of the looks, writes and removals of the ledger, each with a before and an after: where it happens."""
    happens: str
    takes_over: bool
    """A new meter takes the node of `a` over, and asks the ledger where to go on."""
    silence_s: float


QUIET = Step(0, 0, 0, compacts=False, after=0, happens="nothing", takes_over=True, silence_s=0.0)
"""A new meter takes the node over, and nothing else."""

STEPS = st.builds(
    Step,
    sends=st.integers(0, 3),
    more=st.integers(0, 2),
    ledger=st.integers(0, 1),
    compacts=st.booleans(),
    after=st.integers(0, 9),
    happens=st.sampled_from(["nothing", "killed", "failed", "other flushes", "other compacts", "other does both"]),
    takes_over=st.integers(0, 5).map(lambda one_in_six: one_in_six == 0),
    silence_s=st.sampled_from([0.0, 0.0, 0.0, 7200.0]),
)


class World:
    """Two ledgers on one store, two meters that talk to either or both, and a clock."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.now = NOW
        self.models = {"a": Model(), "b": Model()}
        self.ended: dict[str, int] = {}
        """What the meter after it was told of one that ended, in microjoules: that, no more and no less, may count."""
        self.ledgers = [self.opened(), self.opened()]
        for meter in self.models:
            self.ledgers[0][0].resume(meter, meter)

    def store(self) -> FragileStore:
        return FragileStore.on(fs.SubTreeFileSystem(self.folder, fs.LocalFileSystem()), "store")

    def opened(self) -> tuple[Book, FragileStore]:
        store = self.store()
        return Book(store, clock=lambda: self.now), store

    def run(self, step: Step) -> None:
        self.now += 1.0
        for meter, model in self.models.items():
            model.made = min(60, model.made + step.more)
            for which in (0, 1):
                if step.sends & (1 << which):
                    self.send(which, meter, model)
        for meter in self.ended:  # it only hung, and does not know that it has ended
            for number in range(1, 9):
                self.ledgers[step.ledger][0].submit(batch_of(meter, number, node="a"))
        self.act(step)
        if step.takes_over:
            self.take_over(self.ledgers[step.ledger][0])
        self.now += step.silence_s

    def take_over(self, ledger: Book) -> None:
        (old,) = self.models.keys() - {"b"}
        new = f"a{len(self.ended) + 1}"
        told = ledger.resume("a", new).totals
        self.ended[old] = told[0].settled_uj if told and told[0].boot_id == f"boot of {old}" else 0
        del self.models[old]
        self.models[new] = Model()

    def send(self, which: int, meter: str, model: Model) -> None:
        """All that is not acknowledged, and one that may be: a meter does not know which ledger it talks to."""
        for number in range(max(1, model.durable), model.made + 1):
            ack = self.ledgers[which][0].submit(batch_of(meter, number, node=meter[0]))
            assert ack.durable <= model.made
            model.durable = max(model.durable, ack.durable)

    def act(self, step: Step) -> None:
        (book, store), (other, _) = self.ledgers[step.ledger], self.ledgers[1 - step.ledger]

        def happens() -> None:
            if step.happens in ("killed", "failed"):
                raise Crash
            if step.happens in ("other flushes", "other does both"):
                other.flush()
            if step.happens in ("other compacts", "other does both"):
                other.compact(least=2)

        if step.happens != "nothing":
            store.steps_left, store.happens = step.after, happens
        with contextlib.suppress(Crash, StoreError):  # StoreError: what it was about to merge is gone
            book.compact(least=2) if step.compacts else book.flush()
        store.steps_left = None
        if step.happens == "killed":
            self.ledgers[step.ledger] = self.opened()

    def look(self) -> None:
        """Nothing counts twice, nothing between is left out, and nothing that was acknowledged is lost."""
        sums = counted(self.store())
        for meter, model in self.models.items():
            reached = sums.get(meter, 0).bit_length()
            assert sums.get(meter, 0) == bits(range(1, reached + 1))
            assert reached >= model.durable
        for meter, told_uj in self.ended.items():
            assert sums.get(meter, 0) == told_uj
        assert check(self.store()) == []

    def end(self) -> None:
        """A last ledger is sent what is left: all that was ever made counts once."""
        last, _ = self.opened()
        for meter, model in self.models.items():
            for number in range(model.durable + 1, model.made + 1):
                last.submit(batch_of(meter, number, node=meter[0]))
            if model.made:
                assert last.resume(meter[0]).totals == batch_of(meter, model.made, meter[0]).totals
        last.flush()
        made = {meter: bits(range(1, model.made + 1)) for meter, model in self.models.items()}
        expected = {meter: energy_uj for meter, energy_uj in {**self.ended, **made}.items() if energy_uj}
        assert counted(self.store()) == expected
        assert check(self.store()) == []


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=14))
@example([QUIET, QUIET, replace(QUIET, sends=2, more=1, ledger=1, after=1, happens="other compacts")])
@example(
    [
        QUIET,
        QUIET,
        replace(QUIET, sends=3, more=1, ledger=1, after=1, happens="other flushes"),
        replace(QUIET, sends=1, more=1, happens="other compacts"),
    ]
)
def test_any_interleaving_counts_all_once(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        for step in steps:
            world.run(step)
            world.look()
        world.end()
