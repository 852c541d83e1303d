"""The check finds every planted violation, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from batches import batch_of, batches, bits

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.check import Finding, check
from collapse_ray.ledger.journal import list_segments


def written(store: Store, *numbers: range, meter: str = "m", node: str = "node") -> None:
    book = Book(store)
    for of_segment in numbers:
        for batch in batches(meter, of_segment, node):
            book.submit(batch)
        book.flush()


def problems(store: Store) -> list[tuple[str, str]]:
    return [(finding.problem, finding.subject) for finding in check(store)]


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_whole_journal(store: Store) -> None:
    assert check(store) == []
    written(store, range(1, 3), range(3, 6))
    written(store, range(1, 3), meter="n", node="elsewhere")
    assert check(store) == []


def test_a_removed_segment(store: Store) -> None:
    written(store, range(1, 3), range(3, 6), range(6, 8))
    store.delete_folder(f"ledger/{list_segments(store)[1]}")
    missing, unbalanced = check(store)
    assert (missing.problem, missing.subject) == ("missing", "m")
    assert missing.message.startswith("batches 3 to 5 of the meter m are in no segment")
    assert (unbalanced.problem, unbalanced.subject) == ("unbalanced", "m/GPU-node")
    found, settled = bits([1, 2, 6, 7]), bits(range(1, 8))
    assert unbalanced.message == (
        f"the entries of the device GPU-node sum to {found} uJ, and its meter m settled {settled} uJ: "
        f"{settled - found} uJ are missing"
    )


def test_the_first_segment_is_missed_too(store: Store) -> None:
    written(store, range(1, 3), range(3, 6))
    store.delete_folder(f"ledger/{list_segments(store)[0]}")
    assert [finding.message[:14] for finding in check(store) if finding.problem == "missing"] == ["batches 1 to 2"]


@pytest.mark.parametrize(("settled_uj", "said"), [(3, "2 uJ are missing"), (0, "1 uJ are too many")])
def test_entries_that_do_not_sum_to_what_was_settled(store: Store, settled_uj: int, said: str) -> None:
    batch = batch_of("m", 1)
    Book(store).close()
    book = Book(store)
    book.submit(replace(batch, totals=(replace(batch.totals[0], settled_uj=settled_uj),)))
    book.submit(batch_of("n", 1, node="elsewhere"))
    book.flush()
    finding = only(check(store))
    assert (finding.problem, finding.subject) == ("unbalanced", "m/GPU-node")
    assert finding.message.endswith(said)


def test_entries_of_a_device_that_was_never_settled(store: Store) -> None:
    book = Book(store)
    book.submit(replace(batch_of("m", 1), totals=()))
    book.flush()
    assert problems(store) == [("unbalanced", "m/GPU-node")]


def test_settled_joules_without_entries(store: Store) -> None:
    book = Book(store)
    book.submit(replace(batch_of("m", 1), entries=()))
    book.flush()
    assert problems(store) == [("unbalanced", "m/GPU-node")]


def test_a_torn_segment_at_the_end(store: Store) -> None:
    """Nothing after it says that its batches were there."""
    written(store, range(1, 3), range(3, 6))
    name = list_segments(store)[1]
    Path(store.uri, "ledger", name).write_bytes(b"PAR1")
    finding = only(check(store))
    assert (finding.problem, finding.subject) == ("torn", f"ledger/{name}")
    assert "move it out of ledger/" in finding.message


def test_a_merge_that_went_wrong(store: Store) -> None:
    """A segment that says it replaces others, and lost an entry of theirs."""
    written(store, range(1, 3), range(3, 6))
    book = Book(store, clock=lambda: 1e12)
    journal = book._journal
    inputs = list_segments(store)
    _, second = journal.read(inputs)
    journal.write(second.tables, replaces=inputs)
    assert problems(store) == [("missing", "m"), ("unbalanced", "m/GPU-node")]
