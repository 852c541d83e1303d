"""The shared trunk: what many lineages begin with is computed by the first of them, before the others start.

Generation 1 is trained on real data only, hence the same for every real_fraction. Others that wait for it in a trial of
their own would hold CPUs and GPUs meanwhile.
"""

from collections.abc import Callable


class Trunks:
    """Which lineages may start: the first one of each trunk, and all others once generation 1 is published.

    Args:
        published: whether the store has the trunk of this fingerprint.
    """

    def __init__(self, published: Callable[[str], bool]) -> None:
        self._published = published
        self._ready: set[str] = set()
        self._first: dict[str, str] = {}

    def may_start(self, lineage: str, trunk: str) -> bool:
        """Whether a lineage may start now; the one that is told so first computes the trunk."""
        if trunk not in self._ready and trunk not in self._first and self._published(trunk):
            self._ready.add(trunk)
        return trunk in self._ready or self._first.setdefault(trunk, lineage) == lineage

    def reached(self, trunk: str) -> None:
        """A lineage has come to the end of its generation 1."""
        self._ready.add(trunk)
        self._first.pop(trunk, None)

    def ended(self, lineage: str, trunk: str) -> None:
        """A lineage runs no more; where it did not come to the end of generation 1, the next one computes it."""
        if self._first.get(trunk) == lineage:
            del self._first[trunk]
