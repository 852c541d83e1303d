"""kube_facts.yaml as a JSON schema, and the rules that KubeRay, Kueue and Kubernetes enforce beyond their schemas."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

Manifest = Mapping[str, Any]

PRIMITIVES: dict[str, dict[str, Any]] = {
    "any": {},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "count": {"type": "integer", "minimum": 0},
    "port": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]},
    "quantity": {
        "anyOf": [
            {"type": "integer"},
            {"type": "string", "pattern": r"^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$"},
        ]
    },
    "label": {"type": "string", "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"},
}


@cache
def facts() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent / "kube_facts.yaml").read_text())


def violations(manifest: Manifest) -> list[str]:
    """Why the servers would refuse the manifest: one line each; none if they would take it."""
    name = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
    if name not in facts()["kinds"]:
        return [f"{name} is not one of {list(facts()['kinds'])}"]
    schema = {"$ref": f"#/types/{facts()['kinds'][name]}", "types": _types()}
    found = [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    ]
    return found or list(_rules(manifest))


@cache
def _types() -> dict[str, Any]:
    return {name: _compiled(fact) for name, fact in facts()["types"].items()}


def _compiled(fact: Any) -> dict[str, Any]:
    if isinstance(fact, list):
        return {"enum": fact}
    if isinstance(fact, dict):
        return {
            "type": "object",
            "properties": {name.rstrip("!"): _compiled(inner) for name, inner in fact.items()},
            "required": [name.rstrip("!") for name in fact if name.endswith("!")],
            "additionalProperties": False,
        }
    if fact.startswith("["):
        return {"type": "array", "items": _compiled(fact[1:-1])}
    if fact.startswith("{"):
        return {"type": "object", "additionalProperties": _compiled(fact[1:-1])}
    if fact in facts()["types"]:
        return {"$ref": f"#/types/{fact}"}
    return PRIMITIVES[fact]


def _rules(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    cluster = {"RayCluster": spec, "RayJob": spec.get("rayClusterSpec")}.get(manifest["kind"])
    if manifest["kind"] == "RayJob":
        yield from _job_rules(spec)
        yield from _kueue_rules(manifest["metadata"], spec)
        yield from _pod_rules("submitterPodTemplate", spec.get("submitterPodTemplate", {"spec": {"containers": []}}))
    if cluster:
        yield from _cluster_rules(cluster)
        for name, group in groups(cluster).items():
            yield from _pod_rules(name, group["template"])


def groups(cluster: Manifest) -> dict[str, Manifest]:
    """The head's and every worker group's part of a RayCluster's spec."""
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


def _cluster_rules(cluster: Manifest) -> Iterator[str]:
    """ValidateRayClusterSpec of KubeRay's ray-operator/controllers/ray/utils/validation.go."""
    version = tuple(int(part) for part in cluster.get("rayVersion", "0.0").split(".")[:2])
    if cluster.get("authOptions", {}).get("mode", "disabled") == "token" and version < (2, 52):
        yield f"authOptions.mode token needs rayVersion 2.52 or newer, not {cluster.get('rayVersion')}"
    for name, group in groups(cluster).items():
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(group["rayStartParams"]):
            yield f"{name}: resources are given both in rayStartParams and in resources"
        if cluster.get("enableInTreeAutoscaling"):
            if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{name}: with autoscaler v2 restartPolicy is Never"
            if group.get("suspend"):
                yield f"{name}: a group cannot be suspended while the autoscaler is on"


def _job_rules(job: Manifest) -> Iterator[str]:
    """ValidateRayJobSpec and validateDeletionConfiguration of the same file, and the expressions of its CRD."""
    shutdown = job.get("shutdownAfterJobFinishes", False)
    if job.get("ttlSecondsAfterFinished", 0) and not shutdown:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if not job.get("rayClusterSpec") and not job.get("clusterSelector"):
        yield "one of rayClusterSpec and clusterSelector must be set"
    if not job.get("deletionStrategy"):
        return
    rules = job["deletionStrategy"].get("deletionRules") or []
    if not rules:
        yield "deletionStrategy has no deletionRules"
    if shutdown:
        yield "deletionRules and shutdownAfterJobFinishes exclude each other"
    ttls: dict[str, dict[str, int]] = {}
    for rule in rules:
        condition = rule["condition"]
        if len({"jobStatus", "jobDeploymentStatus"} & set(condition)) != 1:
            yield f"a deletion rule asks for one of jobStatus and jobDeploymentStatus, not {sorted(condition)}"
        if rule["policy"] == "DeleteWorkers" and (job.get("rayClusterSpec") or {}).get("enableInTreeAutoscaling"):
            yield "DeleteWorkers does not go with autoscaling"
        of_status = ttls.setdefault(condition.get("jobStatus") or condition.get("jobDeploymentStatus"), {})
        if rule["policy"] in of_status:
            yield f"two rules for {rule['policy']} under one status"
        of_status[rule["policy"]] = condition.get("ttlSeconds", 0)
    for status, of_status in ttls.items():
        order = [
            of_status[policy] for policy in ("DeleteWorkers", "DeleteCluster", "DeleteSelf") if policy in of_status
        ]
        if order != sorted(order):
            yield f"{status}: workers go before the cluster, and the cluster before the job"


def _kueue_rules(metadata: Manifest, job: Manifest) -> Iterator[str]:
    """validateCreate of Kueue's pkg/controller/jobs/{rayjob,raycluster}/*_webhook.go."""
    if "kueue.x-k8s.io/queue-name" not in metadata.get("labels", {}):
        return
    cluster = job["rayClusterSpec"]
    if not job.get("shutdownAfterJobFinishes"):
        yield "a job that Kueue manages deletes its cluster when it ends: shutdownAfterJobFinishes"
    elastic = metadata.get("annotations", {}).get("kueue.x-k8s.io/elastic-job") == "true"
    if cluster.get("enableInTreeAutoscaling") and not elastic:
        yield "Kueue allows autoscaling for elastic jobs only: annotation kueue.x-k8s.io/elastic-job"
    if len(cluster["workerGroupSpecs"]) > 7:
        yield "Kueue allows 7 worker groups"


def _pod_rules(group: str, template: Manifest) -> Iterator[str]:
    """What Kubernetes checks when the operator makes the pod."""
    spec = template["spec"]
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        if missing := {mount["name"] for mount in container.get("volumeMounts", [])} - volumes:
            yield f"{group}: no volume for the mounts {sorted(missing)}"
        for port in container.get("ports", []):
            if not re.fullmatch(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", port["name"]) or len(port["name"]) > 15:
                yield f"{group}: {port['name']!r} is not a port's name"
        limits, requests = (container.get("resources", {}).get(kind, {}) for kind in ("limits", "requests"))
        for name, amount in requests.items():
            if name in limits and quantity(amount) > quantity(limits[name]):
                yield f"{group}: asks for more {name} than its limit"
            if "/" in name and limits.get(name) != amount:
                yield f"{group}: {name} needs a limit equal to its request"


def quantity(text: str | int) -> float:
    """A Kubernetes quantity (`500m`, `16Gi`) as a number."""
    ((number, unit),) = re.findall(r"^([\d.]+)([a-zA-Z]*)$", str(text))
    exponents = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(number) * exponents[unit]
