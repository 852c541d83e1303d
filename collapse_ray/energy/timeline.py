"""A device's time cut into pieces, each with those who used it."""

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from collapse_ray.energy.accounts import Rule
from collapse_ray.energy.marks import AccountKey, Mark, Usage
from collapse_ray.energy.series import Device, Gap


@dataclass(frozen=True)
class Owner:
    """An account's share of a piece."""

    key: AccountKey
    weight: float


@dataclass(frozen=True)
class Piece:
    """An interval in which the users of a device do not change."""

    begin_s: float
    end_s: float
    owners: tuple[Owner, ...]
    rule: Rule
    load: Hashable = field(compare=False)
    """What draws the power: pieces with equal loads are taken to have one power where too little is known of each.

    It holds no generation: training draws in generation 7 what it drew in generation 6.
    """
    measured: bool = True
    """False in a gap that no later counter read covers."""

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.end_s - self.begin_s


def build_timeline(
    device: Device,
    marks: Sequence[Mark],
    usage: Sequence[Usage],
    gaps: Sequence[Gap],
    span: tuple[float, float],
    edge_s: float | None = None,
) -> list[Piece]:
    """Pieces that cover `span` without a hole.

    With `edge_s`, the first and last `edge_s` of longer pieces are pieces of their own, with loads of their own: a
    stage does not draw at its end what it drew at its begin.
    """
    unseen = [gap for gap in gaps if not gap.bridged]
    ends = [time for item in (*marks, *usage, *unseen) for time in (item.begin_s, item.end_s)]
    cuts = sorted({*span, *(time for time in ends if span[0] < time < span[1])})
    marks_at, usage_at, unseen_at = (_active(items, cuts) for items in (marks, usage, unseen))
    pieces = []
    for index, (begin_s, end_s) in enumerate(pairwise(cuts)):
        active = [mark for mark in marks_at[index] if not any(other.inside(mark) for other in marks_at[index])]
        owners, rule = _owners(device, active, usage_at[index])
        load = frozenset((owner.key.kind, owner.key.lineage, owner.key.stage, owner.key.substage) for owner in owners)
        pieces.append(Piece(begin_s, end_s, owners, rule, load, measured=not unseen_at[index]))
    return [part for piece in pieces for part in _edges(piece, edge_s)]


def _active(items: Sequence, cuts: list[float]) -> list[list]:
    """For each interval between cuts, the items that cover it."""
    covering: list[list] = [[] for _ in cuts[1:]]
    for item in items:
        for index in range(bisect_left(cuts, item.begin_s), bisect_left(cuts, item.end_s)):
            if index < len(covering):
                covering[index].append(item)
    return covering


def _owners(device: Device, marks: list[Mark], usage: list[Usage]) -> tuple[tuple[Owner, ...], Rule]:
    """Who gets the energy of a piece, by which rule.

    SM time rules where it tells something: a process outside the marks used the device, or several marks did. It tells
    nothing where a mark does not name its worker. Otherwise the declared shares rule, among those present: what a
    device draws while one lineage alone has it is that lineage's, also if it asked for half of the device.
    """
    sm_shares: dict[str, float] = {}
    for sample in usage:
        for worker, share in sample.sm_shares.items():
            sm_shares[worker] = sm_shares.get(worker, 0.0) + share
    known = all(mark.worker is not None for mark in marks)
    foreign = sum(share for worker, share in sm_shares.items() if worker not in {mark.worker for mark in marks})
    if known and (foreign > 0 or (len(marks) > 1 and sum(sm_shares.values()) > 0)):
        owners = _by_sm_share(marks, sm_shares)
        if foreign > 0:
            owners.append(Owner(AccountKey("foreign", device.node, device.uuid), foreign))
        return tuple(owners), "sm_share"
    if not marks:
        return (Owner(AccountKey("idle", device.node, device.uuid), 1.0),), "exclusive"
    if len({mark.key for mark in marks}) == 1:
        return (Owner(marks[0].key, 1.0),), "exclusive"
    owners = [Owner(mark.key, 1.0 if mark.share is None else mark.share) for mark in marks]
    return tuple(owners), "time" if all(mark.share is None for mark in marks) else "declared_fraction"


def _by_sm_share(marks: list[Mark], sm_shares: dict[str, float]) -> list[Owner]:
    """SM time of a worker goes to its marks in equal parts (more than one where its marks overlap)."""
    counts = {worker: sum(mark.worker == worker for mark in marks) for worker in sm_shares}
    return [
        Owner(mark.key, sm_shares[mark.worker] / counts[mark.worker])
        for mark in marks
        if mark.worker is not None and mark.worker in sm_shares
    ]


def _edges(piece: Piece, edge_s: float | None) -> list[Piece]:
    if edge_s is None or piece.duration_s < 3 * edge_s or math.isinf(piece.duration_s):
        return [piece]
    cuts = [piece.begin_s, piece.begin_s + edge_s, piece.end_s - edge_s, piece.end_s]
    return [
        Piece(begin_s, end_s, piece.owners, piece.rule, (piece.load, part), piece.measured)
        for (begin_s, end_s), part in zip(pairwise(cuts), ("begin", "middle", "end"), strict=True)
    ]
