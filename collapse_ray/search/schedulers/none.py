"""No scheduler."""

from collapse_ray.search.method import Asked
from collapse_ray.search.scheduler import SchedulerSpec


class Spec(SchedulerSpec):
    """Lineages are not compared: each goes on until its stop rule or its depth ends it."""

    def check(self, asked: Asked) -> None:
        pass
