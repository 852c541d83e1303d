"""What a check is: it gathers facts, and judges them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from collapse_ray.doctor.finding import Finding
from collapse_ray.doctor.site import Site

Facts = TypeVar("Facts")


class Check(ABC, Generic[Facts]):
    """Root of the checks: each is the class `Examination` of one file of `checks`, and has the name of the file."""

    @abstractmethod
    def examine(self, site: Site) -> Facts:
        """Has functions run on the nodes, and returns plain facts."""

    @abstractmethod
    def judge(self, facts: Facts) -> Iterable[Finding]:
        """What the facts mean, as a pure function of them.

        Returns:
            One finding for each thing that is wrong with a node, or one that says that nothing is.
        """
