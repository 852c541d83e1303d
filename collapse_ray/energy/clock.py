"""How far the clock of one node is ahead of another's, from messages that were answered."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """One question to another node: local time sent, the other's clock when it answered, local time of the answer."""

    request_s: float
    remote_s: float
    response_s: float


@dataclass(frozen=True)
class Offset:
    """`remote = local + offset_s`, true to `uncertainty_s` on either side."""

    offset_s: float
    uncertainty_s: float


def estimate_offset(exchanges: Sequence[Exchange], at_s: float, max_drift: float = 1e-4) -> Offset:
    """Offset of the remote clock at local time `at_s`: the middle of what every exchange allows.

    The remote clock was read between request and response, so one exchange puts the offset between
    `remote - response` and `remote - request` (Cristian, 1989); an exchange that is `a` seconds old allows
    `max_drift * a` more on either side (two crystals: 100 ppm); many are intersected (Marzullo, 1984). The bounds are
    hard: however unequal the two ways of a message, the truth lies within.

    Raises:
        ValueError: no exchange, an answer before its question, or exchanges that contradict each other, as after a
            restart of the remote node, whose monotonic clock then starts anew.
    """
    if not exchanges:
        raise ValueError("no exchange was given; one answered message is the least that tells an offset")
    low, high = -float("inf"), float("inf")
    for exchange in exchanges:
        if exchange.response_s < exchange.request_s:
            raise ValueError(f"{exchange} has its response before its request; both are times of the local clock")
        middle_s = (exchange.request_s + exchange.response_s) / 2
        slack_s = max_drift * abs(at_s - middle_s)
        low = max(low, exchange.remote_s - exchange.response_s - slack_s)
        high = min(high, exchange.remote_s - exchange.request_s + slack_s)
    if low > high:
        raise ValueError(
            f"the exchanges contradict each other by {low - high:.6f} s at a drift of {max_drift:g}: "
            "the remote clock was set or its node restarted; use the exchanges since then"
        )
    return Offset((low + high) / 2, (high - low) / 2)
