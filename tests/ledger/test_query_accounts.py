"""Tables of the ledger against sums by hand: what is measured, estimated and unknown is never mixed up."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from batches import batch_of, batches, bits

from collapse_ray.artifact.store import Store
from collapse_ray.config.errors import InvalidInput
from collapse_ray.energy.accounts import Rule
from collapse_ray.energy.marks import AccountKey
from collapse_ray.energy.series import Device, Quality
from collapse_ray.ledger.batch import Batch, DeviceTotal, Entry
from collapse_ray.ledger.book import LIVE, Book
from collapse_ray.ledger.query import COLUMNS, Ledger, read_ledger

GPU, CPU = Device("GPU-1", "H100", "gpu", "a"), Device("cpu-0", "Xeon", "cpu", "a")


def entry(device: Device, quality: Quality, energy_j: float | None, duration_s: float, **key: Any) -> Entry:
    energy_uj = None if energy_j is None else round(energy_j * 1e6)
    rule: Rule | None = None if energy_j is None else "exclusive"
    return Entry(AccountKey("stage", device.node, device.uuid, **key), quality, rule, energy_uj, duration_s, 10.0, 20.0)


def ledger_of(store: Store, *entries: Entry, devices: tuple[Device, ...] = (GPU, CPU)) -> Ledger:
    book = Book(store)
    totals = tuple(DeviceTotal(device, 0, None, "boot", 1.0) for device in devices)
    book.submit(Batch("m", "a", 1, entries, totals, ()))
    book.flush()
    return read_ledger(store)


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with None for null."""
    return [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in table.to_dict("records")]


def test_qualities_are_never_added_up(store: Store) -> None:
    ledger = ledger_of(
        store,
        entry(GPU, "counter", 100.0, 10.0, lineage="l", stage="train"),
        entry(GPU, "integrated", 20.0, 2.0, lineage="l", stage="train"),
        entry(CPU, "estimated", 5.0, 10.0, lineage="l", stage="train"),
        entry(GPU, "unmeasured", None, 3.0, lineage="l", stage="train"),
        entry(CPU, "estimated", 7.0, 4.0, lineage="l", stage="generate"),
        entry(GPU, "unmeasured", None, 6.0, lineage="l", stage="evaluate"),
        entry(GPU, "counter", 0.0, 1.0, lineage="l", stage="sleep"),
    )
    train, generate, evaluate, sleep = (
        {
            **{"stage": "train", "energy_j": 120.0, "quality": "unmeasured"},
            **{"counter_j": 100.0, "integrated_j": 20.0, "estimated_j": 5.0, "measured_s": 22.0, "unmeasured_s": 3.0},
        },
        {
            **{"stage": "generate", "energy_j": 7.0, "quality": "estimated"},
            **{"counter_j": None, "integrated_j": None, "estimated_j": 7.0, "measured_s": 4.0, "unmeasured_s": 0.0},
        },
        {
            **{"stage": "evaluate", "energy_j": None, "quality": "unmeasured"},
            **{"counter_j": None, "integrated_j": None, "estimated_j": None, "measured_s": 0.0, "unmeasured_s": 6.0},
        },
        {
            **{"stage": "sleep", "energy_j": 0.0, "quality": "counter"},
            **{"counter_j": 0.0, "integrated_j": None, "estimated_j": None, "measured_s": 1.0, "unmeasured_s": 0.0},
        },
    )
    assert rows(ledger.by(["stage"])) == [evaluate, generate, sleep, train]
    (everything,) = rows(ledger.by([]))
    assert (everything["energy_j"], everything["estimated_j"], everything["unmeasured_s"]) == (120.0, 12.0, 9.0)
    assert [name for name in ledger.by(["stage"]).columns if name not in train] == []


def test_groups_are_sorted_and_nulls_come_last(store: Store) -> None:
    ledger = ledger_of(
        store,
        entry(GPU, "counter", 1.0, 1.0),
        entry(GPU, "counter", 2.0, 1.0, lineage="b", generation=10),
        entry(GPU, "counter", 4.0, 1.0, lineage="b", generation=9),
        entry(GPU, "counter", 8.0, 1.0, lineage="a", generation=2),
    )
    table = ledger.by(["lineage", "generation"])
    assert [list(row.values())[:3] for row in rows(table)] == [
        ["a", 2, 8.0],
        ["b", 9, 4.0],
        ["b", 10, 2.0],
        [None, None, 1.0],
    ]
    assert table["generation"].dtype == pd.Int64Dtype()
    assert rows(ledger.by(["generation", "lineage", "generation"])) == rows(ledger.by(["generation", "lineage"]))


def test_an_unknown_column_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="cannot be summed up by 'linage'; did you mean 'lineage'"):
        read_ledger(store).by(["stage", "linage"])
    with pytest.raises(InvalidInput, match="'energy_uj'"):
        read_ledger(store).sums(["energy_uj"])


def test_an_empty_store(store: Store) -> None:
    ledger = read_ledger(store)
    assert ledger.by(["lineage"]).empty
    assert ledger.by(["lineage"]).columns[0] == "lineage"
    assert ledger.by([]).empty
    assert ledger.frame().empty
    assert ledger.energy_of_artifacts() == {}
    assert ledger.gaps.num_rows == ledger.totals.num_rows == 0


def test_sums_do_not_overflow(store: Store) -> None:
    """Ten entries of 2^62 uJ are more than 64 bits hold."""
    most = entry(GPU, "counter", 0.0, 1.0, lineage="l", artifact="f")
    entries = [replace(most, energy_uj=2**62, key=replace(most.key, generation=number)) for number in range(10)]
    ledger = ledger_of(store, *entries)
    assert ledger.sums(["lineage"]) == {("l",): {"counter": (10 * 2**62, 10.0)}}
    assert ledger.energy_of_artifacts() == {"f": (10 * 2**62, "counter")}
    assert rows(ledger.by([]))[0]["energy_j"] == pytest.approx(10 * 2**62 / 1e6)


def test_devices_are_named_by_node_and_uuid(store: Store) -> None:
    """`cpu-0` is another device on each node; what no meter ever saw has no name."""
    elsewhere = replace(CPU, node="b", name="Epyc")
    unknown = replace(GPU, uuid="GPU-2")
    ledger_of(store, entry(CPU, "counter", 1.0, 1.0), entry(unknown, "counter", 1.0, 1.0), devices=(CPU,))
    book = Book(store)
    total = DeviceTotal(elsewhere, 0, None, "boot", 1.0)
    book.submit(Batch("n", "b", 1, (entry(elsewhere, "counter", 1.0, 1.0),), (total,), ()))
    book.flush()
    found = read_ledger(store).by(["node", "device", "device_name", "device_kind"])
    assert [list(row.values())[:4] for row in rows(found)] == [
        ["a", "GPU-2", None, None],
        ["a", "cpu-0", "Xeon", "cpu"],
        ["b", "cpu-0", "Epyc", "cpu"],
    ]


def test_energy_of_artifacts(store: Store) -> None:
    ledger = ledger_of(
        store,
        entry(GPU, "counter", 3.0, 1.0, artifact="model"),
        entry(GPU, "integrated", 4.0, 1.0, artifact="model"),
        entry(CPU, "estimated", 2.0, 1.0, artifact="samples"),
        entry(GPU, "unmeasured", None, 1.0, artifact="evaluation"),
        entry(GPU, "counter", 9.0, 1.0),
    )
    assert ledger.energy_of_artifacts() == {
        "model": (7_000_000, "integrated"),
        "samples": (2_000_000, "estimated"),
        "evaluation": (None, "unmeasured"),
    }


def test_the_columns_are_a_stable_surface(store: Store) -> None:
    ledger = ledger_of(store, entry(GPU, "counter", 1.5, 2.0, lineage="l", generation=3, artifact="f"))
    assert ledger.entries.column_names == list(COLUMNS)
    assert ",".join(COLUMNS) == (
        "kind,sweep,lineage,generation,stage,substage,artifact,node,device,device_name,device_kind,quality,rule,"
        "energy_uj,duration_s,begin_unix_s,end_unix_s"
    )
    assert rows(ledger.frame()) == [
        {
            **{"kind": "stage", "sweep": None, "lineage": "l", "generation": 3, "stage": None, "substage": None},
            **{"artifact": "f", "node": "a", "device": "GPU-1", "device_name": "H100", "device_kind": "gpu"},
            **{"quality": "counter", "rule": "exclusive", "energy_uj": 1_500_000, "duration_s": 2.0},
            **{"begin_unix_s": 10.0, "end_unix_s": 20.0, "energy_j": 1.5},
        }
    ]


def test_live_totals_hold_what_is_not_durable_yet(store: Store) -> None:
    book, other = Book(store), Book(store)
    assert book.totals() == {}
    for batch in batches("m", range(1, 4)):
        book.submit(batch)
    expected = book.totals()
    assert sum(sums["counter"][0] or 0 for sums in expected.values() if "counter" in sums) == bits(range(1, 4))
    assert expected["idle", None, None, None] == {"unmeasured": (None, 1800.0)}
    book.flush()
    assert book.totals() == expected == read_ledger(store).sums(LIVE) == other.totals()
    book.submit(batch_of("m", 4))
    key = ("stage", "sweep", "lineage", "generate")  # of batches 1 and 4
    assert book.totals()[key] == {"counter": (bits([1, 4]), 1200.0)}
