"""Grams and kWh as things that people can picture."""

from dataclasses import dataclass

from collapse_ray.ledger.views.tables import Unit, units


@dataclass(frozen=True)
class Equivalent:
    """So many of a unit."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        unit = self.unit
        what = "CO2e" if unit.of == "carbon_g" else "electricity"
        source = f"{unit.source}, {unit.year}, {unit.licence}; {unit.method}"
        return f"as much {what} as {self.amount:.3g} {unit.meaning} (source: {source})"


def equivalents(carbon_g: float | None, facility_energy_kwh: float | None) -> list[Equivalent]:
    """All units of which the quantity is known; those of carbon are of the grams, the household's of the kWh."""
    quantities = {"carbon_g": carbon_g, "facility_energy_kwh": facility_energy_kwh}
    known = [(unit, quantities[unit.of]) for unit in units()]
    return [Equivalent(quantity / unit.one_is, unit) for unit, quantity in known if quantity is not None]
