"""Batches on their way to the ledger: kept until they are durable there, sent again when it was away."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from collapse_ray.energy.clock import Exchange, estimate_offset
from collapse_ray.ledger.batch import Ack, Batch

MAX_SPOOL = 300
"""Batches that are kept at most; then the meter holds back."""
RESEND_S = 15.0
"""A batch that was answered but is not durable for so long may have been lost with the ledger that took it."""
FORGOTTEN_S = 60.0
"""A ledger that has known less than was acknowledged for so long has lost it: file systems list late, but not so."""
_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 5.0
_NUM_EXCHANGES = 8

_log = logging.getLogger(__name__)


class Outbox:
    """Submits batches in order from a thread of its own, so that a slow ledger delays no read.

    Args:
        submit: Hands a batch to the ledger; None or an exception says that it is away.
        now: Monotonic time in seconds.
        wall: Unix time in seconds, for as long as the ledger's is not known.
    """

    def __init__(
        self,
        submit: Callable[[Batch], Ack | None],
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._submit = submit
        self._now = now
        self._own_offset_s = wall() - now()
        self._exchanges: deque[Exchange] = deque(maxlen=_NUM_EXCHANGES)
        self._spool: deque[Batch] = deque()
        self._next = 1  # number of the batch to submit next
        self._since_s = now()  # when the oldest batch of the spool was submitted, or became the oldest
        self._retry_s = 0.0
        self._retry_at_s = 0.0
        self._durable = 0  # the most that was ever acknowledged
        self._forgotten_at_s: float | None = None  # since when the ledger knows less
        self._closing = False
        self._stop = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="energy-outbox", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """The ledger was away for long: nothing more should be put."""
        return len(self._spool) >= MAX_SPOOL

    @property
    def forgotten(self) -> bool:
        """The ledger has lost what it had acknowledged as durable: of this meter it will take nothing more."""
        since_s = self._forgotten_at_s
        return since_s is not None and self._now() - since_s > FORGOTTEN_S

    def put(self, batch: Batch) -> None:
        """Takes the next batch; numbers start at 1 and have no holes."""
        with self._news:
            self._spool.append(batch)
            self._news.notify_all()

    def ledger_offset_s(self) -> float:
        """What the ledger's clock (Unix time) shows more than this node's monotonic one."""
        with self._news:
            exchanges = list(self._exchanges)
        if not exchanges:
            return self._own_offset_s
        try:
            return estimate_offset(exchanges, self._now()).offset_s
        except ValueError:  # another ledger, or its clock was set: what counts is the last answer
            with self._news:
                self._exchanges = deque(exchanges[-1:], maxlen=_NUM_EXCHANGES)
            return estimate_offset(exchanges[-1:], self._now()).offset_s

    def close(self, timeout_s: float) -> bool:
        """Waits until the ledger has taken everything, no longer than the timeout; says whether it has.

        What is not durable yet goes out once more: nobody can send it again after this.
        """
        with self._news:
            if self._spool:
                self._next = self._spool[0].number
            self._retry_at_s = 0.0
            self._closing = True
            self._news.notify_all()
            taken = self._news.wait_for(lambda: not self._spool or self._next > self._spool[-1].number, timeout_s)
            taken = taken and self._forgotten_at_s is None
            self._stop = True
            self._news.notify_all()
        if not taken:
            first = self._spool[0].number
            _log.warning("the energy ledger did not take all batches from %d on before the meter ended", first)
        return taken

    def _run(self) -> None:
        while (batch := self._await_batch()) is not None:
            request_s = self._now()
            try:
                ack = self._submit(batch)
            except Exception as error:
                if not self._retry_s:
                    _log.warning("the energy ledger is away (%s: %s); batches are kept", type(error).__name__, error)
                ack = None
            with self._news:
                self._answered(batch, ack, Exchange(request_s, 0.0 if ack is None else ack.ledger_unix_s, self._now()))
                self._news.notify_all()

    def _await_batch(self) -> Batch | None:
        """The batch to submit now, once there is one; None at the end."""
        with self._news:
            while not self._stop:
                now_s = self._now()
                if not self._spool:
                    wait_s = None
                elif now_s < self._retry_at_s:
                    wait_s = self._retry_at_s - now_s
                else:
                    oldest = self._spool[0].number
                    if now_s - self._since_s > RESEND_S:
                        self._next = oldest
                    if self._next <= self._spool[-1].number:
                        self._next = max(self._next, oldest)
                        self._since_s = now_s if self._next == oldest else self._since_s
                        return self._spool[self._next - oldest]
                    wait_s = self._since_s + RESEND_S - now_s
                self._news.wait(wait_s)
        return None

    def _answered(self, batch: Batch, ack: Ack | None, exchange: Exchange) -> None:
        if ack is None:
            self._next = self._spool[0].number
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S) or _FIRST_RETRY_S
            self._retry_at_s = self._now() + (_FIRST_RETRY_S if self._closing else self._retry_s)
            return
        self._retry_s = self._retry_at_s = 0.0
        self._exchanges.append(exchange)
        if ack.durable >= self._durable:
            self._durable, self._forgotten_at_s = ack.durable, None
        elif self._forgotten_at_s is None:
            self._forgotten_at_s = self._now()
        if self._next == batch.number:  # not to begin anew, as `close` may have asked for meanwhile
            self._next += 1
        while self._spool and self._spool[0].number <= ack.durable:
            self._spool.popleft()
            self._since_s = self._now()
