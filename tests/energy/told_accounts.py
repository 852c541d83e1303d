"""What a settler told, with its law watched, and points of constant power for it."""

import math
from collections.abc import Sequence

from collapse_ray.energy.accounts import Accounts
from collapse_ray.energy.device_settler import Increment
from collapse_ray.energy.series import Point

OPEN = math.inf


class Told:
    """Everything that a settler told, with its law watched: time and energy are told once, in order."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.until_s: dict[str, float] = {}
        self.increments: list[Increment] = []

    def take(self, increments: Sequence[Increment]) -> None:
        for one in increments:
            assert one.begin_s >= self.until_s.get(one.device.uuid, -OPEN)
            assert one.end_s >= one.begin_s
            self.until_s[one.device.uuid] = one.end_s
            self.accounts.add(one.accounts)
            self.increments.append(one)

    def joules(self, stage: str) -> float:
        return sum(account.energy_uj or 0 for one, account in self.accounts if (one.stage or one.kind) == stage) / 1e6


def points(*seconds: float, watts: int = 100) -> list[Point]:
    return [Point(t, round(t * watts * 1e6), "counter", round(t * watts * 1e6)) for t in seconds]
