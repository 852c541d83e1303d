"""Live: Electricity Maps, for most grids of the world, with a token."""

import os

import numpy as np
from pydantic import Field

from collapse_ray.config.errors import InvalidInput
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.fetch import SERVICE, get_json, number, unix_s, utc, windows
from collapse_ray.ledger.views.provenance import Provenance
from collapse_ray.ledger.views.rate import Rate, Steps

STEP_S = 3600.0
LONGEST_S = 9 * 86400.0
"""The service takes at most 10 days of hours at a time."""


class Spec(Intensity):
    """Hourly intensity of a zone, imports and exports traced."""

    zone: str = Field(min_length=1)
    """As Electricity Maps names it, e.g. `DE` or `US-CAL-CISO`."""
    token_env: str = "ELECTRICITY_MAPS_TOKEN"  # noqa: S105 - a name, not a token
    """Environment variable that holds the token; the token itself is in no spec, record or message."""
    url: str = Field(default="https://api.electricitymaps.com", pattern=SERVICE)
    """Where the service is."""

    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        token = os.environ.get(self.token_env)
        if not token:
            raise InvalidInput(
                f"carbon.kind electricity_maps needs a token in the environment variable {self.token_env}, which is "
                f"not set; export {self.token_env}=…, or give kind table or series"
            )
        hours: dict[float, dict] = {}
        for begin, end in windows(begin_unix_s, end_unix_s, STEP_S, LONGEST_S):
            query = {"zone": self.zone, "start": utc(begin), "end": utc(end)}
            address = f"{self.url.rstrip('/')}/v3/carbon-intensity/past-range"
            answer = get_json(address, query, {"auth-token": token})
            hours |= {unix_s(hour["datetime"]): hour for hour in answer["data"]}
        times = sorted(hours)
        estimated = sum(bool(hours[time].get("isEstimated")) for time in times)
        provenance = Provenance(
            f"{len(times)} hourly values in g CO2e/kWh, {estimated} of them estimated by the service",
            f"Electricity Maps ({self.url})",
            f"zone {self.zone}",
            licence="that of your contract",
            method="flow-traced consumption; lifecycle CO2e",
        )
        values = np.array([number(hours[time]["carbonIntensity"]) for time in times])
        return Steps.from_times(np.array(times), values, STEP_S, f"the answer of {self.url}", provenance)
