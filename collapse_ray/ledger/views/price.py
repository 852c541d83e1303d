"""What the electricity costs."""

from typing import Self

from pydantic import Field, model_validator

from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Constant, Rate
from collapse_ray.ledger.views.series_file import SeriesFile


class Price(Spec):
    """Money per kWh of the facility, fixed or hour by hour."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    """ISO 4217, e.g. `EUR`; names the column."""
    per_kwh: float | None = Field(default=None, ge=0)
    """A fixed price; or give `series`."""
    series: SeriesFile | None = None
    """A price that varies; it may fall below 0."""
    source: str = Field(min_length=1)
    """Who says so, e.g. `contract 2026, with taxes`."""

    @model_validator(mode="after")
    def _is_one_price(self) -> Self:
        if (self.per_kwh is None) == (self.series is None):
            given = "neither" if self.per_kwh is None else "both"
            raise ValueError(f"given {given} of per_kwh and series; give one of them")
        return self

    def rate(self) -> Rate:
        """Money per kWh.

        Raises:
            InvalidInput: the series cannot be read.
        """
        unit = f"{self.currency} per kWh"
        if self.series is not None:
            return self.series.read(unit)
        assert self.per_kwh is not None
        return Constant(self.per_kwh, Provenance(f"{self.per_kwh:g} {unit}", self.source))
