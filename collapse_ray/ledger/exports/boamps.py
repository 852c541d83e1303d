"""A report in the BoAmps data model (Boavizta, https://github.com/Boavizta/BoAmps, format 1.1): energy in kWh."""

import json
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, ClassVar, Literal

from pydantic import AliasGenerator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from collapse_ray.config import spec
from collapse_ray.config.errors import InvalidInput
from collapse_ray.energy.series import DeviceKind, Quality
from collapse_ray.ledger.export import PRODUCER, Export, work_of
from collapse_ray.ledger.exported import Exported, Facts, Total

SCHEMA = "https://github.com/Boavizta/BoAmps/tree/main/model"

STAGES = {"train": "training", "generate": "datacreation", "evaluate": "evaluation"}
"""Our stages in the words of the schema's examples."""

COMPONENTS: dict[DeviceKind, str] = {"dram": "ram"}

METHODS: dict[Quality, str] = {
    "counter": "energy counter",
    "integrated": "integrated power",
    "estimated": "estimated",
    "unmeasured": "unmeasured",
}

ERRORS: dict[Quality, str] = {"counter": "high", "integrated": "medium", "estimated": "low"}
"""The schema's classes of error: high is within 10 %, medium within 25 %, low within 50 %."""

DATA_TYPES = Literal["tabular", "audio", "boolean", "image", "video", "object", "text", "token", "word", "other"]


class Part(spec.Spec):
    """A part of a report that is dumped in the schema's own notation."""

    model_config = ConfigDict(alias_generator=AliasGenerator(serialization_alias=to_camel))

    def report(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class Algorithm(Part):
    """What was trained or sampled; see algorithm_schema.json."""

    algorithm_type: str | None = None
    """Such as `neural network` or `llm`."""
    algorithm_name: str | None = None
    """Such as `transformers` or `vae`."""
    training_type: str | None = None
    """Such as `unsupervisedLearning`."""
    foundation_model_name: str | None = None
    foundation_model_uri: str | None = None
    parameters_number: float | None = None
    """In billions."""
    framework: str | None = None
    framework_version: str | None = None
    epochs_number: float | None = None
    optimizer: str | None = None
    quantization: str | None = None


class Dataset(Part):
    """What was read or made; see dataset_schema.json."""

    data_usage: Literal["input", "output"]
    data_type: DATA_TYPES
    data_quantity: float | None = None
    """Number of samples, or of tokens where `data_type` is `token`."""
    data_size: float | None = None
    """In GB."""
    shape: str | None = None
    source: Literal["public", "private", "other"] | None = None
    source_uri: str | None = None


class Spec(Export):
    """One report with one measure: all work of the accounts, at the devices (without PUE), idle and foreign left out.

    What is missing from a total, and how its joules were obtained, is said in `taskDescription`.
    """

    file_name: ClassVar[str] = "boamps_report.json"

    task_family: str
    """Such as `image generation` or `text generation`."""
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    dataset: tuple[Dataset, ...] = Field(min_length=1)
    infra_type: Literal["publicCloud", "privateCloud", "onPremise", "other"]
    task_description: str | None = None
    """Opens the report's description."""
    licensing: str | None = None
    """Of the report."""
    status: Literal["draft", "final", "corrective", "other"] = "draft"

    def render(self, exported: Exported, existing: str | None, *, force: bool) -> str:
        if existing and not force and not _is_ours(existing):
            raise InvalidInput(f"what is there is not a report of {PRODUCER}; give another file, or force it")
        work, facts = work_of(exported), exported.facts
        report = {
            "header": self._header(work, facts),
            "task": self._task(work),
            "measures": [_measure(work)],
            "system": {"os": facts.os} if facts.os else None,
            "software": _known(language="python", version=facts.python_version),
            "infrastructure": self._infrastructure(work, facts),
            "environment": _environment(facts),
            # Nothing bounds the error of a total of which a part is missing.
            "quality": ERRORS[max(work.by_quality, key=list(ERRORS).index)] if work.is_complete else None,
        }
        return json.dumps(_known(**report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _header(self, work: Total, facts: Facts) -> dict[str, Any]:
        # The same for the same part of the same ledger: a second export takes the place of the first.
        part = [facts.run_id, [lineage for _, lineage, _ in work.lineages()], work.stages()]
        return _known(
            licensing=self.licensing,
            formatVersion="1.1",
            formatVersionSpecificationUri=SCHEMA,
            reportId=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}:{json.dumps(part)}")),
            reportDatetime=_time(datetime.now(UTC).timestamp()),
            reportStatus=self.status,
        )

    def _task(self, work: Total) -> dict[str, Any]:
        remarks = [self.task_description, f"Joules: {work.qualities()}", _sentence(work.shortfall())]
        return {
            "taskStage": "+".join(STAGES.get(stage, stage) for stage in work.stages()) or "overhead",
            "taskFamily": self.task_family,
            "algorithms": [algorithm.report() for algorithm in self.algorithms],
            "dataset": [dataset.report() for dataset in self.dataset],
            "taskDescription": ". ".join(remark.rstrip(".") for remark in remarks if remark) + ".",
        }

    def _infrastructure(self, work: Total, facts: Facts) -> dict[str, Any]:
        components = [
            {"componentName": name, "componentType": COMPONENTS.get(kind, kind), "nbComponent": number}
            for (kind, name), number in work.devices().items()
        ]
        return _known(infraType=self.infra_type, cloudProvider=facts.cloud_provider, components=components)


def _is_ours(existing: str) -> bool:
    try:
        return json.loads(existing)["measures"][0]["measurementMethod"] == PRODUCER
    except (ValueError, TypeError, LookupError):
        return False


def _measure(work: Total) -> dict[str, Any]:
    return _known(
        measurementMethod=PRODUCER,
        version=version(PRODUCER),
        cpuTrackingMode=_methods(work.of("cpu")),
        gpuTrackingMode=_methods(work.of("gpu")),
        powerConsumption=work.energy_kwh(),
        measurementDuration=work.duration_s,
        measurementDateTime=_time(min(row.begin_unix_s for row in work.rows)),
    )


def _methods(total: Total) -> str | None:
    found = {row.quality for row in total.rows}
    return ", ".join(method for quality, method in METHODS.items() if quality in found) or None


def _environment(facts: Facts) -> dict[str, Any] | None:
    """Asks for a country: without one there is none."""
    if facts.country is None:
        return None
    return _known(
        country=facts.country,
        latitude=facts.latitude,
        longitude=facts.longitude,
        location=facts.region or facts.cloud_region,
        powerSourceCarbonIntensity=facts.carbon.intensity_g_per_kwh if facts.carbon else None,
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _sentence(text: str | None) -> str | None:
    return text and text[0].upper() + text[1:]


def _time(unix_s: float) -> str:
    """UTC, as the schema has times."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
