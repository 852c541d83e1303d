"""What a meter tells the ledger: numbered batches of joules that are already attributed, for good."""

from dataclasses import dataclass

from collapse_ray.energy.accounts import Rule
from collapse_ray.energy.marks import AccountKey, Mark
from collapse_ray.energy.series import Device, Gap, Quality


@dataclass(frozen=True)
class Entry:
    """Joules of one account, quality and rule over an interval; final, never corrected."""

    key: AccountKey
    quality: Quality
    rule: Rule | None
    """None where nothing was measured."""
    energy_uj: int | None
    """Integer microjoules; None for time in which the device could not be read (quality `unmeasured`)."""
    duration_s: float
    """Device time of the account in this interval; of several entries of one account, the first carries it."""
    begin_unix_s: float
    end_unix_s: float
    """On the ledger's clock."""


@dataclass(frozen=True)
class DeviceTotal:
    """How far a meter has come with one device: against this the entries are checked."""

    device: Device
    settled_uj: int
    """Sum of all entries of this device that this meter ever sent, this batch's included."""
    counter_uj: int | None
    """The device's own counter (arbitrary origin) where `settled_uj` was reached; None where it has none."""
    boot_id: str
    """Of the node: a counter is only continued within one boot."""
    settled_unix_s: float


@dataclass(frozen=True)
class Batch:
    """Numbers of a meter start at 1 and have no holes; a batch that comes twice counts once."""

    meter: str
    """One life of one meter: a restarted meter has another name."""
    node: str
    number: int
    entries: tuple[Entry, ...]
    totals: tuple[DeviceTotal, ...]
    open_marks: tuple[Mark, ...]
    """Work that goes on, so that a meter that replaces this one knows it; on the node's monotonic clock."""
    gaps: tuple[tuple[str, Gap], ...] = ()
    """New gaps: (device UUID, gap in seconds since 1970 on the ledger's clock, as entries)."""


@dataclass(frozen=True)
class Ack:
    """The ledger's answer to a batch."""

    durable: int
    """Batches of this meter up to this number are in a segment: the meter may forget them."""
    ledger_unix_s: float
    """The ledger's clock when it answered, for the meter to reconcile its own."""


@dataclass(frozen=True)
class Resume:
    """What a new meter of a node takes over from the one before."""

    totals: tuple[DeviceTotal, ...]
    open_marks: tuple[Mark, ...]
