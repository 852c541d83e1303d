"""What the building adds to the machines: power usage effectiveness (ISO/IEC 30134-2)."""

from pydantic import Field

from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Quantity


class Pue(Spec):
    """PUE = energy of the facility / energy of the IT equipment, over a year."""

    factor: float = Field(ge=1)
    """1 is a building that adds nothing."""
    source: str = Field(min_length=1)
    """Who measured it, e.g. `operator's report 2025`."""
    year: int | None = None
    """That the factor describes."""

    def provenance(self) -> Provenance:
        return Provenance(f"PUE {self.factor:g}", self.source, year=self.year)


def facility_energy_j(energy_j: Quantity, pue: Pue | None) -> Quantity:
    """Joules that the facility drew for these joules of IT equipment; without a PUE, these joules alone."""
    return energy_j * (1.0 if pue is None else pue.factor)
