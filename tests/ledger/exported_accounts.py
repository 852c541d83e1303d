"""A small ledger whose sums can be done in the head."""

from typing import Any

import pandas as pd

from collapse_ray.ledger.exported import COLUMNS, Carbon, Exported, Facts

KWH_UJ = 3_600_000_000_000
BEGIN_UNIX_S = 1_767_225_600.0
"""2026-01-01 00:00:00 UTC."""

PUE = 1.2
G_PER_KWH = 100.0

LOCATION = Carbon("location-based", "100 g CO2e/kWh in Nowhere; source: nobody, 2026, CC0", G_PER_KWH)


def account(device: str, kwh: float | None, begin_s: float, end_s: float, **fields: Any) -> dict[str, Any]:
    """A row of a lineage's training on `gpu-0`, `cpu-0`, ..., unless told otherwise."""
    kind = device.split("-", maxsplit=1)[0]
    names = {"gpu": "NVIDIA H100", "cpu": "RAPL package-0", "dram": "RAPL dram"}
    row = {
        "kind": "stage",
        "sweep": "fractions",
        "lineage": "mix-1",
        "generation": 1,
        "stage": "train",
        "artifact": None,
        "node": "n1",
        "device": device,
        "device_name": names[kind],
        "device_kind": kind,
        "quality": "unmeasured" if kwh is None else "counter",
        "rule": None if kwh is None else "exclusive",
        "energy_uj": None if kwh is None else int(kwh * KWH_UJ),
        "duration_s": end_s - begin_s,
        "begin_unix_s": BEGIN_UNIX_S + begin_s,
        "end_unix_s": BEGIN_UNIX_S + end_s,
    }
    return {**row, **fields}


COMPLETE = (
    # Training: two GPUs, an estimated CPU and memory; then 100 s of nothing; then an evaluation on one GPU.
    account("gpu-0", 1.0, 0, 1000),
    account("gpu-1", 0.5, 0, 1000),
    account("cpu-0", 0.25, 0, 1000, quality="estimated"),
    account("dram-0", 0.125, 0, 1000),
    account("gpu-0", 0.25, 1100, 1200, stage="evaluate"),
    # Not the lineage's to answer for.
    account("gpu-0", 50.0, 1000, 1100, kind="idle", sweep=None, lineage=None, generation=None, stage=None),
    account("gpu-1", 70.0, 1000, 1200, kind="foreign", sweep=None, lineage=None, generation=None, stage=None),
)
"""Work: 2.125 kWh (1.75 of GPUs, 0.25 of CPUs, 0.125 of memory), 1,100 s, 88.2 % counter and 11.8 % estimated."""

MISSING = account("cpu-0", None, 1100, 1200, stage="evaluate")
"""100 of then 4,200 s of device time."""


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*COLUMNS])


def exported(*rows: dict[str, Any], carbon: bool = True, pue: float | None = PUE, **facts: Any) -> Exported:
    """Accounts as the views of the ledger leave them: grams of the energy at the facility's meter."""
    accounts = table(*rows)
    if carbon:
        facts["carbon"] = LOCATION
        accounts["carbon_g_location"] = accounts["energy_uj"] / KWH_UJ * (pue or 1.0) * G_PER_KWH
    return Exported.of(accounts, Facts(**{"run_id": "store-1", "project": "digits", "pue": pue, **facts}))
