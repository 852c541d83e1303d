"""Where a number of a view comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """A factor with what a reader needs to check it; unknown is None."""

    value: str
    """With its unit, e.g. `344.14 g CO2e/kWh`."""
    source: str
    of: str | None = None
    """What it holds for, e.g. `Germany (DEU)`."""
    year: int | None = None
    """That the value describes."""
    licence: str | None = None
    method: str | None = None

    def __str__(self) -> str:
        what = f"{self.value} for {self.of}" if self.of else self.value
        source = ", ".join(str(part) for part in (self.source, self.year, self.licence) if part is not None)
        return f"{what}; source: {source}" + (f"; method: {self.method}" if self.method else "")
