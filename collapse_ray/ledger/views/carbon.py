"""Greenhouse gases of electricity (GHG Protocol, Scope 2 Guidance, 2015): location-based and market-based.

Location-based: the average of the grid that the machines hang on. Market-based: what the contracts say (certificates,
power purchase agreements, supplier rates, else the residual mix). Both are reported side by side, neither replaces the
other.
"""

from abc import abstractmethod
from typing import ClassVar

from collapse_ray.config.plugin import Plugin
from collapse_ray.ledger.views.rate import Rate


class Intensity(Plugin):
    """Where grams of CO2 equivalent per kWh come from; one file of `intensities/` for each kind."""

    folder: ClassVar[str] = "collapse_ray.ledger.views.intensities"

    @abstractmethod
    def rate(self, begin_unix_s: float, end_unix_s: float) -> Rate:
        """Grams of CO2 equivalent per kWh, for energy used in a window.

        Raises:
            InvalidInput: the intensity is not known for it.
            RunFailed: a service that should know it does not answer.
        """
