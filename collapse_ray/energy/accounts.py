"""Sums of joules, each with how it was measured and by which rule it was assigned."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from collapse_ray.energy.marks import AccountKey
from collapse_ray.energy.series import Gap, Quality

Rule = Literal["exclusive", "declared_fraction", "sm_share", "time", "least_squares"]
"""Why joules are in an account: nobody else could have used them, the declared shares of those who overlapped,
their shares of SM time, equal shares or shares of time, the least-squares power of each side of a boundary."""

QUALITIES: tuple[Quality, ...] = ("counter", "integrated", "estimated", "unmeasured")
"""From the best to the worst."""

Group = TypeVar("Group", bound=Hashable)
Name = TypeVar("Name", bound=str)


@dataclass
class Account:
    """Energy under one key, in integer microjoules by quality and rule."""

    parts: dict[tuple[Quality, Rule], int] = field(default_factory=dict)
    measured_s: float = 0.0
    unmeasured_s: float = 0.0
    """Time under this key in which no point covers the device: its energy is in no sum."""

    @property
    def by_quality(self) -> dict[Quality, int]:
        """Microjoules by quality; they sum to `energy_uj`."""
        return _sums((quality, energy_uj) for (quality, _), energy_uj in self.parts.items())

    @property
    def by_rule(self) -> dict[Rule, int]:
        """Microjoules by rule; they sum to `energy_uj`."""
        return _sums((rule, energy_uj) for (_, rule), energy_uj in self.parts.items())

    @property
    def energy_uj(self) -> int | None:
        """None where nothing was measured; what was measured where only a part of the time was."""
        if not self.parts and not self.measured_s:
            return None
        return sum(self.parts.values())

    @property
    def quality(self) -> Quality:
        """The worst quality among the joules, `unmeasured` also where a part of the time was."""
        if self.unmeasured_s or self.energy_uj is None:
            return "unmeasured"
        return max(self.by_quality or ("counter",), key=QUALITIES.index)

    def book(self, energy_uj: int, quality: Quality, rule: Rule) -> None:
        """Add energy."""
        self.parts[quality, rule] = self.parts.get((quality, rule), 0) + energy_uj

    def add(self, other: "Account") -> None:
        """Add all of another account."""
        for (quality, rule), energy_uj in other.parts.items():
            self.book(energy_uj, quality, rule)
        self.measured_s += other.measured_s
        self.unmeasured_s += other.unmeasured_s


def _sums(items: Iterable[tuple[Name, int]]) -> dict[Name, int]:
    sums: dict[Name, int] = {}
    for name, energy_uj in items:
        sums[name] = sums.get(name, 0) + energy_uj
    return sums


@dataclass
class Accounts:
    """Accounts by key, with what else is known of each device by UUID."""

    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    residual: dict[str, float] = field(default_factory=dict)
    """Norm of what the least-squares powers leave unexplained, over the norm of the deltas; absent where not fitted.

    It measures how far power changed within stages; the joules are conserved whatever it is.
    """

    def __iter__(self) -> Iterator[tuple[AccountKey, Account]]:
        return iter(self.accounts.items())

    def __getitem__(self, key: AccountKey) -> Account:
        return self.accounts[key]

    def open(self, key: AccountKey) -> Account:
        """The account under a key, opened where there is none."""
        return self.accounts.setdefault(key, Account())

    def add(self, other: "Accounts") -> None:
        """Add the accounts of other devices, or of a window that does not overlap; the larger residual stays."""
        for key, account in other:
            self.open(key).add(account)
        for device, gaps in other.gaps.items():
            known = self.gaps.setdefault(device, [])
            known += [gap for gap in gaps if gap not in known]
        for device, residual in other.residual.items():
            self.residual[device] = max(residual, self.residual.get(device, 0.0))

    def __add__(self, other: "Accounts") -> "Accounts":
        both = Accounts()
        both.add(self)
        both.add(other)
        return both

    def total_uj(self, device: str | None = None) -> int:
        """The sum over the accounts of a device, or of all: equal to the sum of its counter deltas, to the last."""
        return sum(account.energy_uj or 0 for key, account in self if device in (None, key.device))

    def by(self, group: Callable[[AccountKey], Group]) -> dict[Group, Account]:
        """Accounts summed by anything that can be said of their keys."""
        sums: dict[Group, Account] = defaultdict(Account)
        for key, account in self:
            sums[group(key)].add(account)
        return dict(sums)
