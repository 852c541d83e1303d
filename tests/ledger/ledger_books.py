"""Ledgers on one clock, and what the journal of a store counts."""

from collapse_ray.artifact.store import Store
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.segment import Segment

NOW = 2_000_000.0


def counted(store: Store) -> dict[str, int]:
    """The energy of each meter in the journal: its batches, read as bits."""
    return {meter: uj for meter, (uj, _) in read_ledger(store).energy_of_artifacts().items() if uj is not None}


def book_on(store: Store) -> Book:
    return Book(store, clock=lambda: NOW)


def looked_before(book: Book) -> None:
    """The next look of a ledger was made before now: it finds nothing new."""
    look = book._journal.refresh

    def stale() -> list[Segment]:
        book._journal.refresh = look
        return []

    book._journal.refresh = stale
