"""The ledger's promise: what is acknowledged as durable counts once, whatever happens and how often."""

import contextlib
import itertools
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from batches import BEGIN_UNIX_S, batch_of, batches, bits, device_of, work_on
from fragile_store import Crash, FragileStore
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from collapse_ray.artifact.record import StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.energy.marks import Mark
from collapse_ray.energy.series import Gap
from collapse_ray.ledger.batch import Ack, DeviceTotal, Resume
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import check
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.rows import marks_of, pack, rows_of, totals_of, unpack
from collapse_ray.ledger.segment import Segment

NOW = 2_000_000.0


def counted(store: Store) -> dict[str, int]:
    """The energy of each meter in the journal: its batches, read as bits."""
    return {meter: uj for meter, (uj, _) in read_ledger(store).energy_of_artifacts().items() if uj is not None}


def book_on(store: Store) -> Book:
    return Book(store, clock=lambda: NOW)


# One ledger ---------------------------------------------------------------------------------------


def test_taken_is_not_durable_before_a_flush(store: Store) -> None:
    book = book_on(store)
    assert [book.submit(batch) for batch in batches("m", range(1, 4))] == [Ack(0, NOW)] * 3
    assert counted(store) == {}
    book.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert book.submit(batch_of("m", 4)) == Ack(3, NOW)


def test_duplicates_and_batches_after_a_hole_change_nothing(store: Store) -> None:
    book = book_on(store)
    for number in (1, 1, 3, 2, 2, 1, 5, 3):
        book.submit(batch_of("m", number))
    book.flush()
    for number in (1, 3, 5, 7):
        assert book.submit(batch_of("m", number)) == Ack(3, NOW)
    book.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert check(store) == []


def test_first_batch_of_a_meter_is_number_one(store: Store) -> None:
    book = book_on(store)
    assert book.submit(batch_of("m", 2)) == Ack(0, NOW)
    book.flush()
    assert counted(store) == {}


def test_a_new_ledger_goes_on_where_the_segments_end(store: Store) -> None:
    book = book_on(store)
    for batch in batches("m", range(1, 4)):
        book.submit(batch)
    book.flush()
    book.submit(batch_of("m", 4))  # lost with the process
    again = book_on(store)
    assert again.submit(batch_of("m", 5)) == Ack(3, NOW)
    for batch in batches("m", range(2, 6)):
        again.submit(batch)
    again.flush()
    assert counted(store) == {"m": bits(range(1, 6))}


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))

    def full() -> None:
        raise StoreError("no space left")

    store.happens = full
    book = book_on(store)
    for batch in batches("m", range(1, 8)):
        book.submit(batch)
        store.steps_left = 2
        with pytest.raises(StoreError, match="no space"):
            book.flush()
    assert book.submit(batch_of("m", 8)) == Ack(0, NOW)
    book.flush()
    assert book.submit(batch_of("m", 9)) == Ack(8, NOW)
    assert counted(store) == {"m": bits(range(1, 9))}
    assert read_ledger(store).gaps.num_rows == 8
    assert check(store) == []
    assert book.resume("node").open_marks == batch_of("m", 9).open_marks


def test_a_store_that_goes_away_after_the_write_loses_nothing(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    book = book_on(store)
    book.submit(batch_of("m", 1))
    store.steps_left = 4
    with pytest.raises(Crash):
        book.flush()
    assert book.submit(batch_of("m", 2)) == Ack(0, NOW)
    book.flush()
    assert book.submit(batch_of("m", 3)) == Ack(2, NOW)
    assert counted(store) == {"m": bits([1, 2])}


def test_nothing_new_writes_nothing(store: Store) -> None:
    book = book_on(store)
    book.flush()
    book.submit(batch_of("m", 1))
    book.flush()
    book.flush()
    assert len(store.list_documents("ledger")) == 1


def test_a_batch_may_be_empty(store: Store) -> None:
    book = book_on(store)
    empty = replace(batch_of("m", 1), entries=(), totals=(), open_marks=(), gaps=())
    book.submit(empty)
    book.flush()
    assert book_on(store).submit(batch_of("m", 1)) == Ack(1, NOW)
    assert check(store) == []


def test_entries_of_an_hour_are_summed_up(store: Store) -> None:
    book = book_on(store)
    key = work_on("node", "GPU-node", 0)
    for batch in batches("m", range(1, 13)):
        entry, unread = batch.entries
        book.submit(replace(batch, entries=(replace(entry, key=key, energy_uj=1), unread)))
    book.flush()
    table = read_ledger(store).entries.to_pandas()
    begins = [BEGIN_UNIX_S + 600.0 * number for number in range(1, 13)]
    hours = [list(group) for _, group in itertools.groupby(begins, lambda begin: begin // 3600)]
    expected = [(len(hour), 600.0 * len(hour), hour[0], hour[-1] + 600.0) for hour in hours]
    measured = table[table.quality == "counter"]
    found = measured[["energy_uj", "duration_s", "begin_unix_s", "end_unix_s"]].sort_values("begin_unix_s")
    assert list(found.itertuples(index=False, name=None)) == expected
    unread = table[table.quality == "unmeasured"]
    assert unread.energy_uj.isna().all()
    assert unread.duration_s.sum() == 12 * 600


def test_packed_is_the_same_batch() -> None:
    batch = replace(batch_of("m", 3), gaps=(("GPU-1", Gap(1.0, 2.0, "lost", bridged=True)),))
    rows = unpack(pack(batch))
    assert rows == rows_of(batch)
    assert totals_of(rows.totals) == batch.totals
    assert marks_of(rows.marks) == batch.open_marks
    assert rows.gaps == (("GPU-1", 1.0, 2.0, "lost", True),)


# Taking over --------------------------------------------------------------------------------------


def test_resume_makes_durable_what_it_tells(store: Store) -> None:
    book = book_on(store)
    for batch in batches("m", range(1, 4)):
        book.submit(batch)
    told = book.resume("node")
    assert told == Resume(batch_of("m", 3).totals, batch_of("m", 3).open_marks)
    assert counted(store) == {"m": bits(range(1, 4))}
    assert book_on(store).resume("node") == told
    assert book.resume("other") == Resume((), ())


def test_resume_tells_the_newest_of_all_meters_of_a_node(store: Store) -> None:
    clock = iter(range(100))
    first = Book(store, clock=lambda: float(next(clock)))
    lost = DeviceTotal(replace(device_of("node"), uuid="GPU-2"), 7, None, "boot", 1.0)
    first.submit(replace(batch_of("a", 1), totals=(*batch_of("a", 1).totals, lost)))
    first.flush()
    first.submit(batch_of("other", 1, node="elsewhere"))
    first.submit(batch_of("b", 1))
    first.submit(replace(batch_of("b", 2), open_marks=()))
    first.flush()
    for book in (first, Book(store, clock=lambda: 200.0)):
        told = book.resume("node")
        assert set(told.totals) == {lost, *batch_of("b", 2).totals}
        assert told.open_marks == ()


def test_what_an_old_meter_sends_after_the_take_over_is_not_counted(store: Store) -> None:
    book = book_on(store)
    for batch in batches("old", range(1, 4)):
        book.submit(batch)
    assert book.resume("node", "new").totals == batch_of("old", 3).totals
    for ledger in (book, book_on(store)):
        assert ledger.submit(batch_of("old", 4)) == Ack(4, NOW)  # forget it: the new meter counts it
        assert ledger.submit(batch_of("bystander", 1, node="elsewhere")).durable in (0, 1)
        ledger.submit(batch_of("new", 1))
        ledger.flush()
    assert counted(store) == {"old": bits(range(1, 4)), "new": bits([1]), "bystander": bits([1])}
    assert check(store) == []


def test_a_meter_does_not_end_itself(store: Store) -> None:
    book = book_on(store)
    book.submit(batch_of("m", 1))
    book.resume("node", "m")
    book.submit(batch_of("m", 2))
    book.flush()
    assert counted(store) == {"m": bits([1, 2])}


@pytest.mark.parametrize("looked", ["before", "after"])
def test_what_a_hung_ledger_writes_of_an_old_meter_is_not_counted(store: Store, looked: str) -> None:
    hung = book_on(store)
    for batch in batches("old", range(1, 3)):
        hung.submit(batch)
    hung.flush()
    hung.submit(batch_of("old", 3))
    fresh = book_on(store)
    assert fresh.resume("node", "new").totals == batch_of("old", 2).totals
    fresh.submit(batch_of("new", 1))
    if looked == "before":
        looked_before(hung)
    hung.flush()
    assert len(store.list_documents("ledger")) == (3 if looked == "before" else 2)
    fresh.flush()
    assert counted(store) == {"old": bits([1, 2]), "new": bits([1])}
    assert check(store) == []
    fresh.compact(least=2)
    hung.compact(least=2)
    assert counted(store) == {"old": bits([1, 2]), "new": bits([1])}
    assert check(store) == []


def test_what_was_dropped_is_not_told(store: Store) -> None:
    """A ledger takes from a meter that another one has closed: the next meter must not go on from there."""
    one, two = book_on(store), book_on(store)
    one.submit(batch_of("old", 1))
    one.flush()
    two.flush()
    one.resume("node", "new")
    two.submit(batch_of("old", 2))
    told = two.resume("node", "newest")
    assert told == Resume(batch_of("old", 1).totals, batch_of("old", 1).open_marks)
    assert counted(store) == {"old": bits([1])}


def test_marks_that_go_on_survive_their_ledger(store: Store) -> None:
    book = book_on(store)
    open_marks = (Mark(work_on("node", "GPU-node", 0), 1.0), Mark(work_on("node", "GPU-node", 1), 2.0, share=0.5))
    book.submit(replace(batch_of("m", 1), open_marks=open_marks))
    book.close()
    again = book_on(store)
    assert again.resume("node").open_marks == open_marks
    again.submit(replace(batch_of("m", 2), open_marks=()))
    assert again.resume("node").open_marks == ()


def test_a_ledger_with_a_slower_clock_goes_on(store: Store) -> None:
    ahead, behind = Book(store, clock=lambda: 200.0), Book(store, clock=lambda: 100.0)
    ahead.submit(batch_of("m", 1))
    ahead.flush()
    behind.flush()
    behind.submit(batch_of("m", 2))
    assert behind.resume("node") == Resume(batch_of("m", 2).totals, batch_of("m", 2).open_marks)
    assert Book(store, clock=lambda: 100.0).resume("node") == behind.resume("node")


def test_meters_that_start_at_once_share_segments(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    book = book_on(store)
    first, others = threading.Event(), threading.Event()

    def slow() -> None:
        first.set()
        others.wait()

    store.steps_left, store.happens = 2, slow  # the first is about to write
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(book.resume, "node-0", "m-0")]
        first.wait()
        answers += [pool.submit(book.resume, f"node-{number}", f"m-{number}") for number in range(1, 9)]
        while len(book._successors) < 8:
            time.sleep(0.001)
        others.set()
        assert [answer.result() for answer in answers] == [Resume((), ())] * 9
    assert len(store.list_documents("ledger")) == 2


def test_a_meter_that_told_nothing_is_closed_too(store: Store) -> None:
    """What the hung ledger has of it is told by nobody, and the meter after it goes on from the one before."""
    hung = book_on(store)
    hung.submit(batch_of("first", 1))
    hung.resume("node", "second")
    fresh = book_on(store)
    hung.submit(batch_of("second", 1))
    assert fresh.resume("node", "third").totals == batch_of("first", 1).totals
    hung.flush()
    assert counted(store) == {"first": bits([1])}


# Several ledgers on one store ---------------------------------------------------------------------


def test_two_ledgers_count_what_both_were_sent_once(store: Store) -> None:
    old, new = book_on(store), book_on(store)
    for book in (old, new):
        for batch in batches("m", range(1, 4)):
            book.submit(batch)
    old.flush()
    new.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert new.submit(batch_of("m", 4)) == Ack(3, NOW)


def test_a_ledger_drops_what_another_has_a_part_of(store: Store) -> None:
    """What is summed up cannot be taken apart; it was not acknowledged, so it comes again."""
    ahead, behind = book_on(store), book_on(store)
    for batch in batches("m", range(1, 6)):
        behind.submit(batch)
    for batch in batches("m", range(1, 4)):
        ahead.submit(batch)
    ahead.flush()
    behind.flush()
    assert counted(store) == {"m": bits(range(1, 4))}
    assert behind.submit(batch_of("m", 6)) == Ack(3, NOW)
    assert behind.resume("node").totals == batch_of("m", 3).totals
    for batch in batches("m", range(4, 7)):
        behind.submit(batch)
    behind.flush()
    assert counted(store) == {"m": bits(range(1, 7))}


def looked_before(book: Book) -> None:
    """The next look of a ledger was made before now: it finds nothing new."""
    look = book._journal.refresh

    def stale() -> list[Segment]:
        book._journal.refresh = look
        return []

    book._journal.refresh = stale


def entangled(store: Store) -> tuple[Book, Book]:
    """Two ledgers that both wrote batch 2 and 3; batch 1 and, up to 5, more are in segments of the second alone."""
    one, two = book_on(store), book_on(store)
    two.submit(batch_of("m", 1))
    two.flush()
    one.flush()
    for batch in batches("m", range(2, 6)):
        two.submit(batch)
    for batch in batches("m", range(2, 4)):
        one.submit(batch)
    one.flush()
    for batch in batches("m", range(4, 7)):
        one.submit(batch)
    looked_before(two)
    return one, two


def test_a_ledger_looks_again_before_it_acknowledges(store: Store) -> None:
    one, two = entangled(store)
    two.flush()
    two.compact(least=2)  # 1 to 5 in one piece
    looked_before(one)
    one.flush()  # 4 to 6, which fits to nothing that is left
    assert one.submit(batch_of("m", 7)) == Ack(5, NOW)
    assert counted(store) == {"m": bits(range(1, 6))}
    for number in (6, 7):
        one.submit(batch_of("m", number))
    one.flush()
    assert counted(store) == {"m": bits(range(1, 8))}
    assert check(store) == []


def test_a_ledger_does_not_merge_what_another_builds_upon(tmp_path: Path) -> None:
    store = FragileStore(str(tmp_path))
    one, two = entangled(store)
    two.flush()

    def writes() -> None:
        looked_before(one)
        one.flush()

    store.steps_left, store.happens = 2, writes  # before the merged segment is written
    assert not two.compact(least=2)
    assert one.submit(batch_of("m", 7)) == Ack(6, NOW)
    assert counted(store) == {"m": bits(range(1, 7))}
    assert two.compact(least=2)
    assert counted(store) == {"m": bits(range(1, 7))}
    assert check(store) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.booleans()), max_size=12))
def test_two_ledgers_that_do_not_see_each_other(steps: list[tuple[int, int, bool]]) -> None:
    """As on a file system that lists late: each sends to one of two ledgers what the meter was not told to forget."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.on(fs.SubTreeFileSystem(folder, fs.LocalFileSystem()), "store")
        books = (book_on(store), book_on(store))
        for book in books:
            book._journal.refresh = list
        durable = made = 0
        for which, more, flushes in steps:
            made += more
            for number in range(durable + 1, made + 1):
                durable = max(durable, books[which].submit(batch_of("m", number)).durable)
            if flushes:
                books[which].flush()
                durable = max(durable, books[which].submit(batch_of("m", 1)).durable)
        sums = counted(store).get("m", 0)
        assert sums == bits(range(1, sums.bit_length() + 1))
        assert sums.bit_length() >= durable
        assert check(store) == []


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
