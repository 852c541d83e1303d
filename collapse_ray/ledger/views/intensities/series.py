"""A user's time series of the grid."""

from collapse_ray.ledger.views.carbon import Intensity
from collapse_ray.ledger.views.rate import Rate
from collapse_ray.ledger.views.series_file import SeriesFile


class Spec(SeriesFile, Intensity):
    """Intensities from a CSV or Parquet file; energy meets them by overlap in time."""

    value: str = "g_per_kwh"
    """Column of grams of CO2 equivalent per kWh; an empty cell is a gap."""

    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        return self.read("g CO2e/kWh")
