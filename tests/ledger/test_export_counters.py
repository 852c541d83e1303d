"""The ledger's Prometheus metrics, without Ray: what each is told."""

import pytest
from batches import batch_of, batches, bits
from recorded_metrics import Values, record

from collapse_ray.artifact.store import Store
from collapse_ray.energy.accounts import Rule
from collapse_ray.energy.marks import AccountKey
from collapse_ray.energy.series import Device, Quality
from collapse_ray.ledger import counters as module
from collapse_ray.ledger.batch import Batch, DeviceTotal, Entry
from collapse_ray.ledger.book import Book
from collapse_ray.ledger.counters import Counters, Labels, journal_kinds, journal_totals
from collapse_ray.ledger.pending import Pending
from collapse_ray.ledger.query import read_ledger
from collapse_ray.ledger.rows import rows_of
from collapse_ray.lineage import kept_gauge
from collapse_ray.monitoring.metrics import JOULES, LAG, METRICS, UNMEASURED, WATTS

IDLE = AccountKey("idle", "n1", "gpu-0")
TRAIN = AccountKey("stage", "n1", "gpu-0", sweep="s", lineage="mix-1", generation=1, stage="train")
GPUS = tuple(Device(f"gpu-{index}", "NVIDIA H100", "gpu", "n1") for index in range(2))
OF_TRAIN = ("L", "stage", "s", "mix-1", "train", "n1", "gpu", "counter")
OF_IDLE = ("L", "idle", "", "", "", "n1", "gpu", "counter")
JOURNAL = {Labels(*OF_TRAIN[1:]): 7_500_000}


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> dict[str, Values]:
    return record(monkeypatch, module, kept_gauge)


def new() -> Counters:
    return Counters("L", {}, {})


def entry(key: AccountKey, energy_uj: int | None, end_unix_s: float = 10.0, quality: Quality = "counter") -> Entry:
    rule: Rule | None = None if energy_uj is None else "exclusive"
    quality = "unmeasured" if energy_uj is None else quality
    return Entry(key, quality, rule, energy_uj, 1.0, end_unix_s - 1.0, end_unix_s)


def durable(*entries: Entry, settled_unix_s: tuple[float, float] = (10.0, 10.0), number: int = 1) -> Pending:
    totals = tuple(DeviceTotal(gpu, 0, None, "boot", at) for gpu, at in zip(GPUS, settled_unix_s, strict=True))
    pending = Pending("meter", "n1", number, number, 0.0)
    pending.add(rows_of(Batch("meter", "n1", number, entries, totals, ())), 0.0)
    return pending


def test_a_counter_starts_at_the_totals_of_the_journal_once(metrics: dict[str, Values]) -> None:
    counters = Counters("L", JOURNAL, {gpu.uuid: gpu.kind for gpu in GPUS})
    assert metrics[JOULES.name] == {OF_TRAIN: 7.5}
    counters.count(durable(entry(TRAIN, 2_000_000), entry(TRAIN, 500_000), entry(IDLE, 250_000), entry(IDLE, 0)))
    assert metrics[JOULES.name] == {OF_TRAIN: 10.0, OF_IDLE: 0.25}


def test_the_ledger_tells_of_each_batch_once_over_restarts(store: Store, metrics: dict[str, Values]) -> None:
    """Batch n holds 2 ** (n - 1) uJ: the sum says which were counted, and how often."""
    for last, fresh in ((3, 2), (5, 4)):
        found = read_ledger(store)
        metrics.clear()  # a new process
        counters = Counters("L", journal_totals(found), journal_kinds(found))
        book = Book(store, clock=lambda: 2e6, on_durable=counters.count)
        for batch in batches("m", range(1, fresh + 1)):
            book.submit(batch)
        book.flush()
        book.submit(batch_of("m", last - 1))  # again
        book.submit(batch_of("m", last))
        book.flush()
        book.flush()
        assert sum(metrics[JOULES.name].values()) * 1e6 == pytest.approx(bits(range(1, last + 1)))
        assert {labels[-2] for labels in metrics[JOULES.name]} == {"gpu"}
        assert {labels[2] for labels in metrics[JOULES.name]} == {"sweep"}


def test_what_another_ledger_of_the_store_counts_is_not_told_twice(store: Store) -> None:
    told: dict[str, list[int]] = {"a": [], "b": []}
    a = Book(store, clock=lambda: 2e6, on_durable=lambda pending: told["a"].append(pending.last))
    b = Book(store, clock=lambda: 2e6, on_durable=lambda pending: told["b"].append(pending.last))
    for book in (a, b):
        book.submit(batch_of("m", 1))
    a.flush()
    b.flush()
    assert told == {"a": [1], "b": []}


def test_unmeasured_joules_are_counted_as_devices_not_as_zero(metrics: dict[str, Values]) -> None:
    counters = new()
    other = AccountKey("idle", "n1", "gpu-1")
    counters.count(durable(entry(TRAIN, None), entry(other, 1_000_000)))
    assert metrics[UNMEASURED.name] == {("L", "n1", "gpu"): 1}
    assert metrics[JOULES.name] == {OF_IDLE: 1.0}
    counters.count(durable(entry(TRAIN, 1_000_000, 12.0), entry(TRAIN, None, 11.0)))  # it is back
    assert metrics[UNMEASURED.name] == {("L", "n1", "gpu"): 0}
    counters.count(durable(entry(TRAIN, 1_000_000, 13.0), entry(TRAIN, None, 13.0)))  # a part of a second is missing
    assert metrics[UNMEASURED.name] == {("L", "n1", "gpu"): 1}
    counters.count(durable())  # nothing new is said of it
    assert metrics[UNMEASURED.name] == {("L", "n1", "gpu"): 1}


def test_power_is_energy_over_the_time_that_a_node_told_of(metrics: dict[str, Values]) -> None:
    """100 J and 30 J in 10 s, then 50 J in 5 s of the first alone."""
    counters = new()
    counters.count(durable(entry(TRAIN, 1_000_000)))
    assert metrics[WATTS.name] == {}, "since when is not known"
    counters.count(
        durable(entry(TRAIN, 100_000_000), entry(IDLE, 30_000_000), entry(TRAIN, None), settled_unix_s=(20.0, 22.0))
    )
    train, idle = ("L", "stage", "train", "n1", "counter"), ("L", "idle", "", "n1", "counter")
    assert metrics[WATTS.name] == {train: 10.0, idle: 3.0}
    counters.count(durable(entry(TRAIN, 50_000_000), settled_unix_s=(25.0, 25.0)))
    assert metrics[WATTS.name] == {train: 10.0, idle: 0.0}
    counters.count(durable(entry(IDLE, 2_000_000, quality="estimated"), settled_unix_s=(26.0, 26.0)))
    assert metrics[WATTS.name] == {train: 0.0, idle: 0.0, (*idle[:-1], "estimated"): 2.0}


def test_the_lag_is_that_of_the_slowest_device_and_grows_without_batches(metrics: dict[str, Values]) -> None:
    counters = new()
    counters.count(durable(settled_unix_s=(10.0, 9.5)))
    counters.show_lag(11.0)
    assert metrics[LAG.name] == {("L", "n1"): 1.5}
    counters.show_lag(71.0)
    assert metrics[LAG.name] == {("L", "n1"): 61.5}
    counters.count(durable(settled_unix_s=(80.0, 80.0)))
    counters.show_lag(79.5)  # clocks of nodes differ by less than the ledger can tell
    assert metrics[LAG.name] == {("L", "n1"): 0.0}


def test_a_node_that_left_neither_lags_nor_misses_devices_nor_uses_power(metrics: dict[str, Values]) -> None:
    counters = new()
    counters.count(durable(entry(TRAIN, 1_000_000), settled_unix_s=(9.0, 9.0)))
    counters.count(durable(entry(TRAIN, 1_000_000), entry(IDLE, None)))
    counters.show_lag(30.0)
    assert (metrics[LAG.name], metrics[UNMEASURED.name]) == ({("L", "n1"): 20.0}, {("L", "n1", "gpu"): 1})
    assert sum(metrics[WATTS.name].values()) == 1.0
    assert counters.nodes == ["n1"]
    counters.forget("n1")
    counters.show_lag(900.0)
    assert (metrics[LAG.name], metrics[UNMEASURED.name]) == ({("L", "n1"): 0.0}, {("L", "n1", "gpu"): 0})
    assert set(metrics[WATTS.name].values()) == {0.0}
    assert sum(metrics[JOULES.name].values()) == 2.0
    assert counters.nodes == []


def test_metrics_have_the_names_and_labels_of_the_catalogue(metrics: dict[str, Values]) -> None:
    new()
    assert metrics.keys() == {metric.name for metric in METRICS if "ledger" in metric.labels}
