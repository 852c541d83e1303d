"""The manifests of cluster/kuberay against the definitions of the servers that take them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import KUBERAY, KUEUE_PATCH, MANIFESTS, PINS, PROJECT, load
from kube_schema import facts, groups, quantity, violations

CLUSTER = KUBERAY / "ray_cluster.yaml"
JOB = KUBERAY / "ray_job.yaml"
STORE = KUBERAY / "store.yaml"
POLICY = KUBERAY / "network_policy.yaml"
IMAGE = f"YOUR_REGISTRY/collapse-ray:{PROJECT['version']}"
APP = {"app.kubernetes.io/name": "collapse-ray"}

DELETE = object()


def cluster_specs() -> list[Any]:
    return [load(CLUSTER)["spec"], load(JOB)["spec"]["rayClusterSpec"]]


def queued_job() -> dict[str, Any]:
    """The job with the patch for Kueue, as a JSON merge patch (RFC 7386) applies."""
    return merged(load(JOB), load(KUEUE_PATCH))


def merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def planted(manifest: Any, place: str, value: Any) -> Any:
    """A copy with one place changed or removed: `spec/workerGroupSpecs/0/groupName`, `~1` being a slash in a name."""
    changed = json.loads(json.dumps(manifest))  # no anchor shared between two places
    *way, last = [int(step) if step.isdigit() else step.replace("~1", "/") for step in place.split("/")]
    inside = changed
    for step in way:
        inside = inside[step]
    if value is DELETE:
        del inside[last]
    else:
        inside[last] = value
    return changed


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_servers_accept_it(path: Path) -> None:
    assert violations(load(path)) == []


def test_servers_accept_the_job_in_a_queue() -> None:
    job = queued_job()
    assert violations(job) == []
    assert job["metadata"]["labels"] == {**APP, "kueue.x-k8s.io/queue-name": "YOUR_LOCAL_QUEUE"}
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_patches_as_we_do() -> None:
    command = [
        "kubectl",
        "patch",
        "--local",
        "-f",
        str(JOB),
        "--type=merge",
        f"--patch-file={KUEUE_PATCH}",
        "-o",
        "yaml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout) == queued_job()


HEAD = "spec/headGroupSpec"
CONTAINER = f"{HEAD}/template/spec/containers/0"
GPU = "spec/workerGroupSpecs/1"
RULES = "spec/deletionStrategy/deletionRules"


@pytest.mark.parametrize(
    ("path", "place", "value", "complaint"),
    [
        (CLUSTER, "spec/enableInTreeAutoscalling", True, "enableInTreeAutoscalling"),
        (CLUSTER, "spec/authOptions/mode", "tokens", "tokens"),
        (CLUSTER, "spec/autoscalerOptions/version", 2, "2 is not one of"),
        (CLUSTER, f"{HEAD}/rayStartParams/num-cpus", 0, "0 is not of type 'string'"),
        (CLUSTER, f"{HEAD}/template/spec/restartPolicy", "OnFailure", "autoscaler v2"),
        (CLUSTER, f"{CONTAINER}/resources/limits/memory", "16 GB", "16 GB"),
        (CLUSTER, f"{CONTAINER}/resources/limits/cpu", "2", "asks for more cpu than its limit"),
        (CLUSTER, f"{CONTAINER}/volumeMounts/0/name", "stor", "no volume for the mounts"),
        (CLUSTER, f"{CONTAINER}/ports/0/containerPort", "6379", "6379"),
        (CLUSTER, f"{CONTAINER}/ports/0/name", "GCS server", "not a port's name"),
        (CLUSTER, f"{CONTAINER}/securityContext/runAsNonroot", True, "runAsNonroot"),
        (CLUSTER, f"{GPU}/maxReplicas", DELETE, "maxReplicas"),
        (CLUSTER, f"{GPU}/template/spec/tolerations/0/operator", "Exist", "Exist"),
        (CLUSTER, f"{GPU}/template/spec/containers/0/resources/limits/nvidia.com~1gpu", "2", "equal to its request"),
        (CLUSTER, "spec/rayVersion", "2.51.0", "2.52"),
        (CLUSTER, "spec/rayVersion", DELETE, "2.52"),
        (CLUSTER, "apiVersion", "ray.io/v1alpha1", "ray.io/v1alpha1"),
        (JOB, "spec/entryPoint", "python", "entryPoint"),
        (JOB, "spec/ttlSecondsAfterFinished", 60, "needs shutdownAfterJobFinishes"),
        (JOB, "spec/shutdownAfterJobFinishes", True, "exclude each other"),
        (JOB, f"{RULES}/0/policy", "DeletePods", "DeletePods"),
        (JOB, f"{RULES}/0/policy", "DeleteWorkers", "autoscaling"),
        (JOB, f"{RULES}/0/condition/jobStatus", DELETE, "one of jobStatus"),
        (JOB, f"{RULES}/0/condition/jobStatus", "STOPPED", "STOPPED"),
        (JOB, f"{RULES}/0/condition/ttlSeconds", -1, "-1"),
        (JOB, f"{RULES}/1/condition/ttlSeconds", 1, "the cluster before the job"),
        (JOB, "spec/rayClusterSpec", DELETE, "rayClusterSpec"),
        (JOB, "metadata/labels/kueue.x-k8s.io~1queue-name", "queue", "Kueue"),
        (STORE, "spec/accessModes/0", "ReadWriteAny", "ReadWriteAny"),
        (STORE, "spec/resources/requests/storage", "many", "many"),
        (POLICY, "spec/ingress/1/ports/0/port", 82650, "82650"),
        (POLICY, "spec/ingres", [], "ingres"),
        (POLICY, "spec/podSelector/matchLabel", {}, "matchLabel"),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else None,
)
def test_a_planted_error_is_found(path: Path, place: str, value: Any, complaint: str) -> None:
    found = violations(planted(load(path), place, value))
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        ("spec/shutdownAfterJobFinishes", DELETE, "shutdownAfterJobFinishes"),
        ("metadata/annotations", DELETE, "elastic"),
        ("metadata/labels/kueue.x-k8s.io~1queue-name", "two words", "two words"),
        ("spec/deletionStrategy", {"deletionRules": []}, "exclude each other"),
    ],
)
def test_a_planted_error_in_the_patch_is_found(place: str, value: Any, complaint: str) -> None:
    found = violations(planted(queued_job(), place, value))
    assert any(complaint in line for line in found), found


def test_the_facts_name_no_type_that_is_not_there() -> None:
    """Every fact compiles: a misspelt type would otherwise show only where a manifest uses it."""
    assert violations({"apiVersion": "ray.io/v1", "kind": "RayJob"}) != []
    assert set(facts()["kinds"].values()) <= set(facts()["types"])


def test_the_job_has_the_cluster_of_the_cluster() -> None:
    of_cluster, of_job = cluster_specs()
    assert of_job == of_cluster


def pods() -> Iterator[tuple[str, Any]]:
    for name, group in groups(cluster_specs()[0]).items():
        yield name, group["template"]
    yield "submitter", load(JOB)["spec"]["submitterPodTemplate"]


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=[name for name, _ in pods()])
def test_every_pod_is_confined(name: str, pod: Any) -> None:
    spec = pod["spec"]
    assert pod["metadata"]["labels"] == APP  # which the network policy selects
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec.get("automountServiceAccountToken", name == "head") == (name == "head")  # the autoscaler's
    for container in spec["containers"]:
        assert container["image"] == IMAGE
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


def test_the_cluster_is_locked() -> None:
    spec = cluster_specs()[0]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    policy = load(POLICY)["spec"]
    assert policy["podSelector"]["matchLabels"] == APP
    assert policy["policyTypes"] == ["Ingress"]
    open_to_all = [rule for rule in policy["ingress"] if not rule.get("from")]
    assert open_to_all == []


def test_versions_are_those_of_the_constraints() -> None:
    assert cluster_specs()[0]["rayVersion"] == PINS["ray"]


def test_the_groups_of_the_cluster() -> None:
    spec = cluster_specs()[0]
    assert spec["enableInTreeAutoscaling"]
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    cpu, gpu = spec["workerGroupSpecs"]
    assert (cpu["groupName"], gpu["groupName"]) == ("cpu", "gpu")
    assert cpu["minReplicas"] >= 1  # for the driver
    assert gpu["minReplicas"] == 0
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_shared_memory_holds_the_object_store() -> None:
    """Ray's object store is 0.3 of the memory, and falls back to the disk where /dev/shm is smaller."""
    for group in groups(cluster_specs()[0]).values():
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
        assert volume["emptyDir"]["medium"] == "Memory"
        memory = quantity(container["resources"]["limits"]["memory"])
        assert 0.3 * memory <= quantity(volume["emptyDir"]["sizeLimit"]) < 0.5 * memory


def test_the_store_is_one_for_all() -> None:
    claim = load(STORE)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups(cluster_specs()[0]).values():
        (volume,) = [volume for volume in group["template"]["spec"]["volumes"] if volume["name"] == "store"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
