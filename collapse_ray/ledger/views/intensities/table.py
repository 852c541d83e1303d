"""The shipped table: yearly averages by country, province, eGRID subregion, and cloud region."""

from typing import Literal, Self

from pydantic import field_validator, model_validator

from collapse_ray.config.errors import did_you_mean
from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.rate import Constant, Rate
from collapse_ray.ledger.views.tables import cloud_regions, grids, nearest_grid

_ALPHA_3 = 3


class Spec(Intensity):
    """The average of a grid over a year: `country`, or `grid`, or `cloud` with `region`."""

    country: str | None = None
    """ISO 3166-1 alpha-3, e.g. `DEU`."""
    grid: str | None = None
    """A part of a country: ISO 3166-2 (`CA-QC`, `AU-NSW`) or an eGRID subregion of the USA (`eGRID-SRVC`)."""
    cloud: Literal["aws", "azure", "gcp"] | None = None
    """Whose region."""
    region: str | None = None
    """The cloud's name for it, e.g. `eu-central-1`."""

    @field_validator("country", "grid")
    @classmethod
    def _is_known(cls, code: str | None, info) -> str | None:
        is_country = info.field_name == "country"
        codes = {known: grid for known, grid in grids().items() if (len(known) == _ALPHA_3) == is_country}
        if code is not None and code not in codes:
            form = "an ISO 3166-1 alpha-3 code, e.g. DEU" if is_country else "CA-QC, AU-NSW, eGRID-SRVC or a like code"
            raise ValueError(
                f"{code!r} is not in the table; {nearest_grid(code, codes)}give {form}, or kind constant with a "
                "number of your own"
            )
        return code

    @model_validator(mode="after")
    def _names_one_grid(self) -> Self:
        given = [name for name in ("country", "grid", "cloud", "region") if getattr(self, name) is not None]
        if given not in (["country"], ["grid"], ["cloud", "region"]):
            raise ValueError(
                f"given {', '.join(given) or 'nothing'}; give one of country=DEU, grid=CA-QC, or both cloud=aws and "
                "region=eu-central-1"
            )
        if self.cloud is not None and self.region is not None and (self.cloud, self.region) not in cloud_regions():
            known = [region for cloud, region in cloud_regions() if cloud == self.cloud]
            raise ValueError(
                f"{self.cloud} has no region {self.region!r} in the table; {did_you_mean(self.region, known)}"
            )
        return self

    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        if self.cloud is None or self.region is None:
            grid = grids()[self.country or self.grid or ""]
            return Constant(grid.g_per_kwh, grid.provenance())
        region = cloud_regions()[self.cloud, self.region]
        grid = grids()[region.grid]
        return Constant(grid.g_per_kwh, grid.provenance(f"{region.cloud} {region.region}, {region.place}"))
