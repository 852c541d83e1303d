"""The thread that reads the devices of a node on time."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from collapse_ray.energy.sampler import Sampler

_log = logging.getLogger(__name__)


class ReadingThread:
    """Steps a sampler whenever something is due: whatever fails in it ends metering, never the experiment.

    Args:
        sampler: What to step.
        then: Called in the thread after each step, and when it asked for it: it says when next, in monotonic seconds.
            The lock is held meanwhile.
        longest_s: The thread wakes at least this often.
    """

    def __init__(self, sampler: Sampler, then: Callable[[], float] | None = None, longest_s: float = 1.0) -> None:
        self.sampler = sampler
        self.lock = threading.Lock()
        """Held while series change."""
        self.cpu_s = 0.0
        """CPU time that the thread has used."""
        self._then = then
        self._longest_s = longest_s
        self._news = threading.Condition()
        self._wake = threading.Event()
        self._stop = False
        self._running = False
        self._thread = threading.Thread(target=self._run, name="energy-meter", daemon=True)

    @property
    def running(self) -> bool:
        """False before the start, after the end, and after a failure."""
        return self._running

    def start(self) -> None:
        self._running = True
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ends the thread, and waits for its end; reads that are not settled yet are not waited for."""
        self._stop = True
        self._wake.set()
        self._thread.join(timeout_s)

    def wake(self) -> None:
        """Lets the thread look at once whether something is due."""
        self._wake.set()

    def mark(self, time_s: float | None = None, devices: Collection[str] | None = None) -> float:
        """`Sampler.mark`, without delay."""
        time_s = self.sampler.mark(time_s, devices)
        self._wake.set()
        return time_s

    def settle(self, time_s: float, timeout_s: float) -> bool:
        """Waits until every device was read up to a mark; says whether that is so."""
        self._wake.set()
        with self._news:
            self._news.wait_for(lambda: not self._running or self.sampler.settled(time_s), timeout_s)
        return self._running and self.sampler.settled(time_s)

    def _run(self) -> None:
        due_s = float("inf")
        try:
            while not self._stop:
                wait_s = min(due_s, self.sampler.due_s()) - time.monotonic()
                self._wake.wait(max(0.0, min(wait_s, self._longest_s)))
                self._wake.clear()
                with self.lock:
                    if is_due := self.sampler.due_s() <= time.monotonic():
                        self.sampler.step()
                    if self._then is not None:
                        due_s = self._then()
                if is_due:
                    with self._news:
                        self._news.notify_all()
                self.cpu_s = time.thread_time()
        except Exception:
            _log.exception("the energy meter failed: what follows is unmeasured")
        finally:
            with self._news:
                self._running = False
                self._news.notify_all()
