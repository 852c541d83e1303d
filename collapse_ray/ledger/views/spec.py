"""What is to be derived from joules, besides joules."""

from typing import Self

from pydantic import model_validator

from collapse_ray.config.spec import Spec
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.embodied import Hardware
from collapse_ray.ledger.views.overhead import Pue
from collapse_ray.ledger.views.price import Price
from collapse_ray.ledger.views.sci import Sci
from collapse_ray.ledger.views.water import Water


class ViewsSpec(Spec):
    """Views of the ledger; none is ever folded into the stored energy."""

    carbon: Intensity | None = None
    """Location-based intensity, e.g. `{kind: table, country: DEU}`; None leaves `carbon_g_location` null."""
    carbon_market: Intensity | None = None
    """Market-based intensity: of your contract, supplier or residual mix; None leaves `carbon_g_market` null."""
    pue: Pue | None = None
    """Of the data centre; None counts the IT equipment only."""
    water: Water | None = None
    """Litres per kWh."""
    price: Price | None = None
    """Of a kWh."""
    embodied: tuple[Hardware, ...] = ()
    """Emissions of making the devices."""
    sci: Sci | None = None
    """Software Carbon Intensity per generation, sample or token; needs `carbon` and `embodied`."""
    equivalents: bool = False
    """The totals as kilometres by car, seats on a flight and days of a household."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        missing = [name for name, given in (("carbon", self.carbon), ("embodied", self.embodied)) if not given]
        if self.sci is not None and missing:
            raise ValueError(
                f"sci needs {' and '.join(missing)}: SCI = (E x I + M) per R (ISO/IEC 21031); give it, or leave sci out"
            )
        return self
