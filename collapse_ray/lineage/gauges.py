"""What a lineage shows to Prometheus while it runs. A Ray seam."""

import logging
import queue
import threading

from ray.util.metrics import Counter

from collapse_ray.artifact.record import Kind, Record, StoreError
from collapse_ray.artifact.store import Store
from collapse_ray.lineage.kept_gauge import KeptGauge
from collapse_ray.lineage.progress import Pace, StageEvent
from collapse_ray.monitoring import metrics

log = logging.getLogger(__name__)

MAX_LINEAGES = 200
"""A process shows so many lineages one by one, as long as it lives. Later ones count in the
sums only."""


class LineageGauges:
    """A listener of stage events, in the process of rank 0 or in the driver; make one for each process.

    Args:
        store: where the lineages' artifacts are.
    """

    def __init__(self, store: Store) -> None:
        self._generation = KeptGauge(metrics.GENERATION)
        self._real_fraction = KeptGauge(metrics.REAL_FRACTION)
        self._train_loss = KeptGauge(metrics.TRAIN_LOSS)
        self._value = KeptGauge(metrics.VALUE)
        self._samples = _counter(metrics.SAMPLES)
        self._tokens = _counter(metrics.TOKENS)
        self._train_s = _counter(metrics.TRAIN_SECONDS)
        self._data_wait_s = _counter(metrics.DATA_WAIT_SECONDS)
        self._reused = _counter(metrics.REUSED)
        self._saved = _Saved(store)
        self._reached: dict[str, int] = {}
        """The latest generation of each lineage that is shown."""

    def __call__(self, event: StageEvent) -> None:
        """Shows what is new."""
        if event.pace is not None:
            self._count(event.stage, event.pace)
        if event.reused and event.record is not None:
            self._reused.inc(1, {"stage": event.stage})
            self._saved.add(event.stage, event.record)
        if not self._is_shown(event):
            return
        if event.loss is not None:
            self._train_loss.set(event.loss, {"lineage": event.id})
        if event.record is not None:
            self._show(event.id, event.generation, event.record)

    def _count(self, stage: str, pace: Pace) -> None:
        labels = {"stage": stage}
        for counter, amount, of in (
            (self._samples, pace.num_samples, labels),
            (self._tokens, pace.num_tokens, labels),
            (self._train_s, pace.duration_s, {}),
            (self._data_wait_s, pace.data_wait_s, {}),
        ):
            if amount:  # Ray refuses to raise a counter by 0
                counter.inc(amount, of)

    def _is_shown(self, event: StageEvent) -> bool:
        """Not what was computed again for an earlier generation, whose files a retention policy had removed."""
        if event.id not in self._reached and len(self._reached) >= MAX_LINEAGES:
            return False
        reached = self._reached[event.id] = max(event.generation, self._reached.get(event.id, 0))
        return event.generation == reached

    def _show(self, lineage: str, generation: int, record: Record) -> None:
        if record.kind == "model":
            self._real_fraction.set(record.realised["realised_real_fraction"], {"lineage": lineage})
            loss = record.metrics.get("train_loss")
            if loss is not None:
                self._train_loss.set(loss, {"lineage": lineage})
        elif record.kind == "evaluation":
            self._generation.set(generation, {"lineage": lineage})
            for name, value in record.metrics.items():
                if value is not None and not name.endswith("_stderr"):
                    self._value.set(value, {"lineage": lineage, "metric": name})


def _counter(metric: metrics.Metric) -> Counter:
    return Counter(metric.name, metric.help, metric.labels)


class _Saved:
    """Asks the store what reused artifacts had cost, in a thread of its own: listeners return at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._joules = _counter(metrics.SAVED)
        self._asked: queue.SimpleQueue[tuple[str, Kind, str]] = queue.SimpleQueue()
        threading.Thread(target=self._answer, name="collapse-saved", daemon=True).start()

    def add(self, stage: str, record: Record) -> None:
        self._asked.put((stage, record.kind, record.fingerprint))

    def _answer(self) -> None:
        while True:
            stage, kind, fingerprint = self._asked.get()
            try:
                energy = self._store.energy(kind, fingerprint)
            except StoreError as error:
                log.warning("what a reused artifact had cost is not known: %s", error)
                continue
            if energy is not None and energy.energy_j:
                self._joules.inc(energy.energy_j, {"stage": stage})
