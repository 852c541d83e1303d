"""One number that the user knows: of a supplier, a contract, a measured grid."""

from pydantic import Field

from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Constant, Rate


class Spec(Intensity):
    """The same intensity at all times."""

    g_per_kwh: float = Field(ge=0)
    """Grams of CO2 equivalent per kWh."""
    source: str = Field(min_length=1)
    """Who says so, e.g. `supplier's label 2025` or `PPA with wind farm X, certificates cancelled`."""
    year: int | None = None
    """That the number describes."""

    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        return Constant(self.g_per_kwh, Provenance(f"{self.g_per_kwh:g} g CO2e/kWh", self.source, year=self.year))
