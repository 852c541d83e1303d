"""Software Carbon Intensity: SCI = (E x I + M) per R (ISO/IEC 21031:2024).

I is location-based: the standard leaves market-based measures out. E counts the facility where a PUE is given.
"""

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.rate import Quantity


class Sci(Spec):
    """What R, the functional unit, is."""

    unit: Literal["generation", "sample", "token"]
    """A generation of a lineage, a sample or a token that a generator made."""
    count: float | None = Field(default=None, gt=0)
    """How many there are in all the accounts; None counts generations, and needs to be told of the others."""

    @property
    def column(self) -> str:
        """Of the score."""
        return f"sci_g_per_{self.unit}"

    @property
    def count_column(self) -> str:
        """Of R, where it is told by lineage or generation."""
        return f"num_{self.unit}s"


def sci_g(operational_g: Quantity, embodied_g: Quantity, functional_units: Quantity) -> Quantity:
    """SCI in grams of CO2 equivalent per functional unit: O = E x I and M in grams, over R."""
    return (operational_g + embodied_g) / functional_units


def functional_units(accounts: pd.DataFrame, groups: pd.DataFrame, sci: Sci, units: pd.DataFrame | None) -> np.ndarray:
    """R for each group: what its lineage or generation made; the scores of a lineage's stages add up to its own.

    Args:
        accounts: tells the generations.
        groups: one row for each group.
        sci: the unit.
        units: `num_samples` or `num_tokens` by any of `sweep`, `lineage`, `generation`.

    Returns:
        R (N,); NaN for groups that made none, such as idle time.

    Raises:
        InvalidInput: nobody said how many there are.
    """
    if sci.count is not None:
        return np.full(len(groups), sci.count)
    if units is None and sci.unit == "generation" and {"lineage", "generation"} <= set(accounts):
        units = accounts.loc[:, ["lineage", "generation"]].dropna().drop_duplicates().assign(num_generations=1)
    if units is None or sci.count_column not in units:
        raise InvalidInput(
            f"sci: nobody said how many {sci.unit}s these accounts are for; give sci.count=…, the number in all of them"
        )
    keys = [name for name in units if name != sci.count_column and name in groups]
    counts: dict[tuple, float] = {}
    for *key, count in units[[*keys, sci.count_column]].itertuples(index=False):
        counts[tuple(key)] = counts.get(tuple(key), 0.0) + count
    made = [counts.get(tuple(key), np.nan) for key in groups[keys].itertuples(index=False)]
    return np.array(made if keys else [counts.get((), np.nan)] * len(groups), dtype=float)
