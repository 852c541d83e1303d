"""The share of making the hardware: M = TE x TS x RS of ISO/IEC 21031:2024 (Software Carbon Intensity)."""

from fnmatch import fnmatchcase

from pydantic import Field

from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Quantity

SECONDS_PER_YEAR = 365 * 24 * 3600
"""A year of the standard's own example: 365 days of 24 hours."""


class Hardware(Spec):
    """Emissions of making, moving and disposing of devices of one kind."""

    device: str = Field(default="*", min_length=1)
    """Which ones: a pattern of their UUID or name, `*` for any text, e.g. `GPU-*` or `*H100*`."""
    total_kg: float = Field(ge=0)
    """TE: kg of CO2 equivalent of one device over its life, its share of the server included where you count it."""
    lifespan_years: float = Field(gt=0)
    """EL: expected lifespan."""
    share: float = Field(default=1.0, gt=0, le=1)
    """RS = RR / ToR: the part of the device that is reserved for this work while it is."""
    source: str = Field(min_length=1)
    """Of `total_kg`, e.g. the maker's product carbon footprint."""
    year: int | None = None
    """That `total_kg` describes."""

    def covers(self, *names: str) -> bool:
        """Whether the pattern fits one of a device's names."""
        return any(fnmatchcase(name, self.device) for name in names)

    def provenance(self) -> Provenance:
        value = f"{self.total_kg:g} kg CO2e over {self.lifespan_years:g} years, share {self.share:g}"
        return Provenance(value, self.source, f"devices {self.device}", self.year, method="M = TE x TS x RS")


def embodied_g(reserved_s: Quantity, hardware: Hardware) -> Quantity:
    """M in grams for the time that a device is reserved (TiR), in seconds."""
    time_share = reserved_s / (hardware.lifespan_years * SECONDS_PER_YEAR)
    return time_share * (1000.0 * hardware.total_kg * hardware.share)
