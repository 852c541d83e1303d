"""What a generation is expected to cost, learned from those that were measured."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge

from collapse_ray.search.frontier.problem import Arm
from collapse_ray.search.frontier.record import Lineage

SHRINKAGE = 1.0
"""Ridge penalty: as much as one generation speaks for a cost that does not depend on anything."""


class CostModel:
    """Cost of generation g at a place: exp(arm + axes + exponent log g), as pools grow with g under some regimes.

    Generations that cost nothing were found in the store; they say nothing about the next ones and are left out. Where
    none was measured every generation counts 1.
    """

    def __init__(self, arms: Sequence[Arm], lineages: Sequence[Lineage]) -> None:
        self._arms = {arm: index for index, arm in enumerate(arms)}
        rows = [
            (self._features(lineage.arm, np.array([lineage.unit]), np.array([generation]))[0], cost)
            for lineage in lineages
            for generation, cost in lineage.costs.items()
            if cost > 0
        ]
        self._model = None
        if rows:
            features, costs = zip(*rows, strict=True)
            self._model = Ridge(alpha=SHRINKAGE).fit(np.stack(features), np.log(costs))

    def per_generation(self, arm: Arm, units: np.ndarray, depth: int) -> np.ndarray:
        """Expected cost of each generation 1..depth of lineages at places (P, D): (P, depth)."""
        if self._model is None:
            return np.ones((len(units), depth))
        features = self._features(arm, np.repeat(units, depth, axis=0), np.tile(np.arange(1, depth + 1), len(units)))
        return np.exp(self._model.predict(features)).reshape(len(units), depth)

    def _features(self, arm: Arm, units: np.ndarray, generations: np.ndarray) -> np.ndarray:
        which = np.zeros((len(units), len(self._arms)))
        which[:, self._arms[arm]] = 1.0
        return np.concatenate([which, units, np.log(generations)[:, None]], axis=1)
