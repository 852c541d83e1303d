"""Water that evaporates in cooling, and in making the electricity."""

from pydantic import Field

from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Quantity


class Water(Spec):
    """Litres per kWh; water usage effectiveness (WUE, ISO/IEC 30134-9) counts the kWh of the IT equipment."""

    wue_l_per_kwh: float = Field(ge=0)
    """On site: litres per kWh of IT equipment."""
    grid_l_per_kwh: float | None = Field(default=None, ge=0)
    """At the power stations: litres per kWh of the facility; None leaves them out."""
    source: str = Field(min_length=1)
    """Who measured it."""
    year: int | None = None
    """That the numbers describe."""

    def provenance(self) -> Provenance:
        site = f"WUE {self.wue_l_per_kwh:g} l per kWh of IT equipment"
        grid = "" if self.grid_l_per_kwh is None else f" and {self.grid_l_per_kwh:g} l per kWh of the facility"
        method = "on site only; the power stations' water is left out" if self.grid_l_per_kwh is None else None
        return Provenance(site + grid, self.source, year=self.year, method=method)


def water_l(energy_kwh: Quantity, facility_kwh: Quantity, water: Water) -> Quantity:
    """Litres for the energy of the IT equipment, and of the facility around it."""
    return energy_kwh * water.wue_l_per_kwh + facility_kwh * (water.grid_l_per_kwh or 0.0)
