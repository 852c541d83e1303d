"""The ledger's Prometheus counters, without Ray: what each metric is told."""

from collections import defaultdict
from typing import Any

import pytest
from exported_accounts import COMPLETE, MISSING, account, table

from collapse_ray.energy.accounts import Rule
from collapse_ray.energy.marks import AccountKey
from collapse_ray.energy.series import Device, Quality
from collapse_ray.ledger import counters as module
from collapse_ray.ledger.batch import Batch, DeviceTotal, Entry
from collapse_ray.ledger.counters import JOULES, LAG, UNMEASURED, Counters, Labels, journal_totals

IDLE = AccountKey("idle", "n1", "gpu-0")
TRAIN = AccountKey("stage", "n1", "gpu-0", lineage="mix-1", generation=1, stage="train")
GPUS = tuple(Device(f"gpu-{index}", "NVIDIA H100", "gpu", "n1") for index in range(2))
JOURNAL = {Labels("stage", "mix-1", "train", "n1", "gpu", "counter"): 7_500_000}

Values = dict[tuple[str, ...], float]


class Recorder:
    """Stands for Ray's `Counter` and `Gauge`, with their rules."""

    metrics: dict[str, Values]

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] = ()) -> None:
        self.tag_keys = tag_keys
        self.values = self.metrics[name] = defaultdict[tuple[str, ...], float](float)

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0  # Ray refuses others
        self.values[self._key(tags)] += value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[self._key(tags)] = value

    def _key(self, tags: dict[str, str]) -> tuple[str, ...]:
        assert tuple(tags) == self.tag_keys
        assert all(isinstance(value, str) for value in tags.values())
        return tuple(tags.values())


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> dict[str, Values]:
    found: dict[str, Values] = {}
    recorder = type("Recorder", (Recorder,), {"metrics": found})
    monkeypatch.setattr(module, "Counter", recorder)
    monkeypatch.setattr(module, "Gauge", recorder)
    return found


def entry(key: AccountKey, energy_uj: int | None, end_unix_s: float = 10.0) -> Entry:
    quality: Quality = "unmeasured" if energy_uj is None else "counter"
    rule: Rule | None = None if energy_uj is None else "exclusive"
    return Entry(key, quality, rule, energy_uj, 1.0, end_unix_s - 1.0, end_unix_s)


def batch(*entries: Entry, settled_unix_s: tuple[float, ...] = (10.0, 10.0), node: str = "n1") -> Batch:
    totals = tuple(DeviceTotal(gpu, 0, None, "boot", at) for gpu, at in zip(GPUS, settled_unix_s, strict=True))
    return Batch("meter", node, 1, entries, totals, ())


def test_totals_of_the_journal_are_sums_by_label() -> None:
    again = account("gpu-0", 0.5, 3000, 3100, generation=2)  # a label less than the accounts have
    assert journal_totals(table(*COMPLETE, MISSING, again)) == {
        Labels("stage", "mix-1", "train", "n1", "gpu", "counter"): 7_200_000_000_000,
        Labels("stage", "mix-1", "train", "n1", "cpu", "estimated"): 900_000_000_000,
        Labels("stage", "mix-1", "train", "n1", "dram", "counter"): 450_000_000_000,
        Labels("stage", "mix-1", "evaluate", "n1", "gpu", "counter"): 900_000_000_000,
        Labels("idle", "", "", "n1", "gpu", "counter"): 180_000_000_000_000,
        Labels("foreign", "", "", "n1", "gpu", "counter"): 252_000_000_000_000,
    }


def test_a_counter_starts_at_the_totals_of_the_journal_once(metrics: dict[str, Values]) -> None:
    counters = Counters(JOURNAL, GPUS)
    assert metrics[JOULES] == {("stage", "mix-1", "train", "n1", "gpu", "counter"): 7.5}
    counters.count(batch(entry(TRAIN, 2_000_000), entry(TRAIN, 500_000), entry(IDLE, 250_000), entry(IDLE, 0)))
    assert metrics[JOULES] == {
        ("stage", "mix-1", "train", "n1", "gpu", "counter"): 10.0,
        ("idle", "", "", "n1", "gpu", "counter"): 0.25,
    }


def test_unmeasured_joules_are_counted_as_devices_not_as_zero(metrics: dict[str, Values]) -> None:
    counters = Counters({})
    other = AccountKey("idle", "n1", "gpu-1")
    counters.count(batch(entry(TRAIN, None), entry(other, 1_000_000)))
    assert metrics[UNMEASURED] == {("n1", "gpu"): 1}
    assert metrics[JOULES] == {("idle", "", "", "n1", "gpu", "counter"): 1.0}
    counters.count(batch(entry(TRAIN, 1_000_000, 12.0), entry(TRAIN, None, 11.0)))  # it is back
    assert metrics[UNMEASURED] == {("n1", "gpu"): 0}
    counters.count(batch(entry(TRAIN, 1_000_000, 13.0), entry(TRAIN, None, 13.0)))  # a part of a second is missing
    assert metrics[UNMEASURED] == {("n1", "gpu"): 1}
    counters.count(batch())  # nothing new is said of it
    assert metrics[UNMEASURED] == {("n1", "gpu"): 1}


def test_the_lag_is_that_of_the_slowest_device_and_grows_without_batches(metrics: dict[str, Values]) -> None:
    counters = Counters({})
    counters.count(batch(settled_unix_s=(10.0, 9.5)))
    counters.show_lag(11.0)
    assert metrics[LAG] == {("n1",): 1.5}
    counters.show_lag(71.0)
    assert metrics[LAG] == {("n1",): 61.5}
    counters.count(batch(settled_unix_s=(80.0, 80.0)))
    counters.show_lag(79.5)  # clocks of nodes differ by less than the ledger can tell
    assert metrics[LAG] == {("n1",): 0.0}


def test_a_node_that_left_neither_lags_nor_misses_devices(metrics: dict[str, Values]) -> None:
    counters = Counters({})
    counters.count(batch(entry(TRAIN, 1_000_000), entry(IDLE, None)))
    counters.show_lag(30.0)
    assert (metrics[LAG], metrics[UNMEASURED]) == ({("n1",): 20.0}, {("n1", "gpu"): 1})
    counters.forget("n1")
    counters.show_lag(900.0)
    assert (metrics[LAG], metrics[UNMEASURED]) == ({("n1",): 0.0}, {("n1", "gpu"): 0})
    assert sum(metrics[JOULES].values()) == 1.0


def test_metrics_have_names_that_prometheus_takes(metrics: dict[str, Any]) -> None:
    Counters({})
    assert sorted(metrics) == [
        "collapse_energy_joules",
        "collapse_ledger_lag_seconds",
        "collapse_unmeasured_devices",
    ]
