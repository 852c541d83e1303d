"""Real data of many lineages, each source opened once for each seed."""

from collections import OrderedDict

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.data.source import RealData
from collapse_ray.lineage.prepare import Opened, open_real
from collapse_ray.lineage.spec import LineageSpec


def split_key(lineage: LineageSpec) -> str:
    """The same for lineages whose real data, and its split, are the same."""
    return fingerprint([lineage.source.dump(), lineage.seed, lineage.holdout_fraction])


class Sources:
    """Sources that are open; whoever opens many says how many of them stay so."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, RealData] = OrderedDict()

    def open(self, lineage: LineageSpec) -> Opened:
        """The real data of a lineage, checked to suit it.

        Raises:
            InvalidInput: the lineage cannot run on it.
        """
        key = fingerprint([lineage.source.dump(), lineage.seed])
        opened = open_real(lineage, self._open.get(key))
        self._open[key] = opened.data
        self._open.move_to_end(key)
        return opened

    def keep(self, most: int) -> None:
        """Closes all but those that were opened last."""
        while len(self._open) > most:
            self._open.popitem(last=False)
