"""Clocks: the wall clock of every node agrees with the driver's."""

import time
from collections.abc import Iterator

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site
from collapse_ray.energy.clock import Exchange, Offset, estimate_offset

NUM_EXCHANGES = 10
MAX_OFFSET_S = 1.0
"""The ledger and the records order what nodes did by their wall clocks; NTP keeps them within milliseconds."""


class Examination(Check[dict[str, Offset]]):
    """Offsets from the driver."""

    def examine(self, site: Site) -> dict[str, Offset]:
        offsets = {node.name: _offset(site, node) for node in site.nodes}
        return {name: offset for name, offset in offsets.items() if offset is not None}

    def judge(self, facts: dict[str, Offset]) -> Iterator[Finding]:
        fix = "let chrony, ntpd or systemd-timesyncd set its clock: timedatectl set-ntp true"
        for node, offset in facts.items():
            ahead = "ahead of" if offset.offset_s >= 0 else "behind"
            found = f"{_say(abs(offset.offset_s))} ± {_say(offset.uncertainty_s)} {ahead} the driver's clock"
            if abs(offset.offset_s) - offset.uncertainty_s > MAX_OFFSET_S:
                yield Finding(node, Status.fault, f"{found}; at most {MAX_OFFSET_S:g} s is allowed", fix)
            elif abs(offset.offset_s) + offset.uncertainty_s > MAX_OFFSET_S:
                yield Finding(node, Status.warning, f"{found}; it may be off by more than {MAX_OFFSET_S:g} s", fix)
            else:
                yield Finding(node, Status.ok, found)


def probe(_: Node) -> float:
    """The wall clock of this node."""
    return time.time()


def _offset(site: Site, node: Node) -> Offset | None:
    """From the fastest of several exchanges, which bounds it best (as NTP does); None where the node fails."""
    exchanges = []
    for _ in range(NUM_EXCHANGES):
        request_s = time.time()
        remote_s = site.call(node, probe)
        if remote_s is None:
            return None
        exchanges.append(Exchange(request_s, remote_s, time.time()))
    fastest = min(exchanges, key=lambda exchange: exchange.response_s - exchange.request_s)
    return estimate_offset([fastest], fastest.response_s)


def _say(duration_s: float) -> str:
    return f"{duration_s:.2f} s" if duration_s >= 1 else f"{duration_s * 1e3:.2f} ms"
