"""Live: the Carbon Intensity API of the National Energy System Operator of Great Britain; it asks for no token."""

import numpy as np
from pydantic import Field

from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.fetch import SERVICE, get_json, number, unix_s, utc, windows
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Rate, Steps

STEP_S = 1800.0
LONGEST_S = 13 * 86400.0
"""The service takes at most 14 days at a time."""


class Spec(Intensity):
    """Half-hourly intensity of the national grid, as it came to be; forecasts are not used."""

    url: str = Field(default="https://api.carbonintensity.org.uk", pattern=SERVICE)
    """Where the service is."""

    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        actual: dict[float, float] = {}
        for begin, end in windows(begin_unix_s, end_unix_s, STEP_S, LONGEST_S):
            answer = get_json(f"{self.url.rstrip('/')}/intensity/{utc(begin)}/{utc(end)}")
            # It also answers with the half-hour that ends where the window begins.
            actual |= {unix_s(half["from"]): number(half["intensity"]["actual"]) for half in answer["data"]}
        times = sorted(actual)
        provenance = Provenance(
            f"{len(times)} half-hourly values in g CO2/kWh",
            f"NESO Carbon Intensity API ({self.url})",
            "Great Britain",
            licence="CC BY 4.0",
            method="national, actual (not forecast)",
        )
        values = np.array([actual[time] for time in times])
        return Steps.from_times(np.array(times), values, STEP_S, f"the answer of {self.url}", provenance)
