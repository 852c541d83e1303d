"""How many of the types of real text a generator still uses."""

from typing import ClassVar

import numpy as np

from collapse_ray.config.payload import Payload
from collapse_ray.evaluate.halves import ALL_GROUPS, Share, share_stderr_of_halves
from collapse_ray.evaluate.metric import MetricSpec, Summary
from collapse_ray.evaluate.occurrences import at
from collapse_ray.evaluate.token_types import TypeCounts, Unit, check_unit


class Spec(MetricSpec):
    """Share of the types of the held-out real rows that occur in the synthetic samples.

    It grows with the number of tokens sampled: compare lineages at the same number. `vocabulary_coverage_stderr` is the
    standard error over the draw of the samples and of the held-out rows (`evaluate/halves.py`).
    """

    names: ClassVar[tuple[str, ...]] = ("vocabulary_coverage", "vocabulary_coverage_stderr")

    unit: Unit = "token"
    """Types are tokens, or `word`: what stands between white space, for byte tokens only."""

    def empty(self, payload: Payload) -> Summary | None:
        if payload.kind != "tokens":
            return None
        check_unit(self.unit, payload, f"metrics.{self.kind}")
        return VocabularyCoverage(self.unit)


class VocabularyCoverage(TypeCounts):
    """Counts of types, of which only the presence is used."""

    def compute(self) -> dict[str, float | None]:
        real = self.real.table()
        synthetic = self.synthetic.table()
        groups_of_synthetic = at(synthetic.groups, synthetic.index_of(real.types))

        def coverage(groups: np.uint64) -> Share:
            known = int(np.count_nonzero(real.groups & groups))
            if not known or not self.synthetic.total(groups):
                return Share(None, known)
            reached = int(np.count_nonzero((real.groups & groups > 0) & (groups_of_synthetic & groups > 0)))
            return Share(reached / known, known)

        return {
            "vocabulary_coverage": coverage(ALL_GROUPS).value,
            "vocabulary_coverage_stderr": share_stderr_of_halves(coverage, self.halves()),
        }
