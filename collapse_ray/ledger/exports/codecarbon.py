"""CodeCarbon's `emissions.csv`, as release 3.3 writes it: one row per run.

Units are CodeCarbon's: s, kg (CO2 equivalent), kg/s, W, kWh, l, GB, l/kWh; times here are UTC.
"""

import csv
import io
from datetime import UTC, datetime
from typing import ClassVar

from collapse_ray.config.errors import InvalidInput
from collapse_ray.energy.series import DeviceKind
from collapse_ray.ledger.export import Export, producer, work_of
from collapse_ray.ledger.exported import J_PER_KWH, Exported, Facts, Total

HEADER = (
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
)
"""The fields of `codecarbon.output_methods.emissions_data.EmissionsData` (3.3.2), in their order."""

HARDWARE: dict[str, DeviceKind] = {"cpu": "cpu", "gpu": "gpu", "ram": "dram"}
"""CodeCarbon's prefixes of columns, and our kinds of device."""

Row = dict[str, str | float | None]


class Spec(Export):
    """One row for each lineage, and one for work that belongs to none; the rows of other runs stay.

    A row whose `run_id` is there already is replaced, so that an export may be repeated. As CodeCarbon has it, energies
    and powers include the PUE that stands beside them. What is unknown is an empty cell.
    """

    file_name: ClassVar[str] = "emissions.csv"

    lower_bound: bool = False
    """Export lineages of which a part was not measured; the project's name then says what is missing, because the
    format has no other place that its readers show. Without it such an export is refused."""

    def render(self, exported: Exported, existing: str | None, *, force: bool) -> str:
        work = work_of(exported)
        if not work.is_complete and not self.lower_bound:
            raise InvalidInput(
                f"{work.shortfall()}, and the columns of CodeCarbon have no place to say so; set lower_bound=true to "
                "have it said in project_name, or choose boamps or huggingface, which have free text"
            )
        rows = [_row(exported.facts, sweep, lineage, part) for sweep, lineage, part in work.lineages()]
        header, others = _others(existing, {str(row["run_id"]) for row in rows}, force=force)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n" if existing and "\r\n" in existing else "\n")
        writer.writerows([header, *others])
        writer.writerows([row[column] for column in header] for row in rows)
        return text.getvalue()


def _others(existing: str | None, run_ids: set[str], *, force: bool) -> tuple[list[str], list[list[str]]]:
    """Header and rows of other runs of the file that is there; CodeCarbon, too, takes columns in any order."""
    try:
        header, *rows = [line for line in csv.reader(io.StringIO(existing or "", newline="")) if line] or [list(HEADER)]
        is_ours = sorted(header) == sorted(HEADER) and all(len(row) == len(header) for row in rows)
    except csv.Error:
        header, rows, is_ours = [], [], False
    if is_ours:
        return header, [row for row in rows if row[header.index("run_id")] not in run_ids]
    if force:
        return list(HEADER), []
    raise InvalidInput(
        "what is there has not the columns of CodeCarbon 3.3; give another file, or force it, which replaces it"
    )


def _row(facts: Facts, sweep: str | None, lineage: str | None, part: Total) -> Row:
    emissions_kg = None if part.carbon_g is None else part.carbon_g / 1000
    duration_s = part.duration_s
    end = datetime.fromtimestamp(max(row.end_unix_s for row in part.rows), UTC)
    shortfall = part.shortfall()
    row: Row = dict.fromkeys(HEADER)
    row |= {
        "timestamp": end.strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": f"{facts.project} ({shortfall})" if shortfall else facts.project,
        "run_id": f"{facts.run_id}/{lineage}" if lineage else facts.run_id,
        "experiment_id": sweep,
        "duration": duration_s,
        "emissions": emissions_kg,
        "emissions_rate": emissions_kg / duration_s if emissions_kg is not None and duration_s else None,
        "energy_consumed": part.energy_kwh(facts.pue),
        "water_consumed": part.water_l,
        "codecarbon_version": f"{producer()} ({part.qualities()})",
        "tracking_mode": "process",
        "gpu_count": sum(part.of("gpu").devices().values()) or None,
        "gpu_model": ", ".join(part.of("gpu").hardware()) or None,
    }
    for prefix, kind in HARDWARE.items():
        row |= _hardware(prefix, part.of(kind), duration_s, facts.pue)
    return row | _facts(facts)


def _hardware(prefix: str, part: Total, duration_s: float, pue: float | None) -> Row:
    """Energy, and the mean power where all of it is known."""
    energy_kwh = part.energy_kwh(pue)
    row: Row = {f"{prefix}_energy": energy_kwh}
    if energy_kwh is not None and part.is_complete and duration_s > 0:
        row[f"{prefix}_power"] = energy_kwh * J_PER_KWH / duration_s
    return row


def _facts(facts: Facts) -> Row:
    return {
        "country_name": facts.country,
        "country_iso_code": facts.country_iso_code,
        "region": facts.region,
        "cloud_provider": facts.cloud_provider,
        "cloud_region": facts.cloud_region,
        "on_cloud": "Y" if facts.cloud_provider else None,
        "os": facts.os,
        "python_version": facts.python_version,
        "cpu_count": facts.num_cpus,
        "cpu_model": facts.cpu_model,
        "longitude": facts.longitude,
        "latitude": facts.latitude,
        "ram_total_size": facts.memory_gb,
        "pue": facts.pue,
        "wue": facts.wue_l_per_kwh,
    }
