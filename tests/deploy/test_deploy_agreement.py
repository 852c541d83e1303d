"""The files of a cluster agree with each other, with the constraints, with Ray's source and with our own."""

import importlib.metadata
import re
from pathlib import Path

import pytest
import ray
from deploy_files import (
    AWS,
    CLUSTER,
    DOCKERFILE,
    PAGES,
    PINS,
    PROJECT,
    ROOT,
    SCRIPTS,
    SLURM,
    instructions,
    load,
    locked_python,
    shipped,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from collapse_ray.lineage.spec import load_experiment

TEXTS = {path: path.read_text() for path in [*shipped(), *PAGES]}
PACKAGE = ROOT / "collapse_ray"
REGISTRIES = ["docker.io", "ghcr.io", "quay.io", "gcr.io", "nvcr.io", "amazonaws.com/", "pkg.dev"]
SECRETS = [r"AKIA[0-9A-Z]{16}", r"-----BEGIN", r"(?i)(auth_token|password|secret)\s*[:=]\s*['\"]?[0-9a-f]{16,}"]


def exported(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)", text, flags=re.MULTILINE))


def image_environment() -> dict[str, str]:
    pairs = [pair for name, value in instructions(DOCKERFILE.read_text()) if name == "ENV" for pair in value.split()]
    return dict(pair.split("=", 1) for pair in pairs)  # type: ignore[misc]  # every pair has a "="


def test_the_image_has_the_environment_of_the_nodes() -> None:
    assert image_environment() == exported((CLUSTER / "ray_env.sh").read_text())


def test_authentication_is_on_everywhere() -> None:
    assert exported((CLUSTER / "ray_env.sh").read_text())["RAY_AUTH_MODE"] == "token"
    for script in (CLUSTER / "ray_node.sh", SLURM):
        assert "\n. cluster/ray_env.sh\n" in script.read_text()


def test_every_variable_is_one_that_ray_or_we_read() -> None:
    names = {
        name for script in SCRIPTS for name in re.findall(r"^export (\w+)", script.read_text(), flags=re.MULTILINE)
    }
    names |= set(image_environment())
    assert names >= {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_TRAIN_ENABLE_STATE_TRACKING"}
    assert unread(names) == set()
    assert unread({"RAY_AUTH_MODUS"}) == {"RAY_AUTH_MODUS"}  # would be noticed


def unread(names: set[str]) -> set[str]:
    """Those that neither Ray's Python nor ours mentions."""
    left = {name.encode() for name in names}
    for root in (PACKAGE, Path(ray.__file__).parent):
        for path in root.rglob("*.py"):
            if left:
                content = path.read_bytes()
                left = {name for name in left if name not in content}
    return {name.decode() for name in left}


COMMAND = re.compile(r"python jobs/(\w+)\.py (\S+\.yaml)((?: +[\w.]+=\S+)*)")


def commands() -> list[tuple[Path, str, str, list[str]]]:
    """Every job that a file starts or tells to start: where, script, spec, overrides."""
    found = []
    for path, text in TEXTS.items():
        flowed = re.sub(r"\\\n#?\s*", "", text)
        found += [(path, script, spec, rest.split()) for script, spec, rest in COMMAND.findall(flowed)]
    return found


def test_every_command_is_a_job_that_would_start() -> None:
    assert {path for path, *_ in commands()} >= {
        AWS,
        SLURM,
        CLUSTER / "on_premise.yaml",
        CLUSTER / "kuberay" / "ray_job.yaml",
    }
    for _, script, spec, overrides in commands():
        assert script in {"run", "sweep", "verify"}
        assert (ROOT / spec).exists()
        if script == "run":
            load_experiment(ROOT / spec, [override.replace('"', "") for override in overrides])


def test_jobs_are_submitted_alike() -> None:
    for path, text in TEXTS.items():
        for options in re.findall(r"ray job submit (.*?) --(?:\s|\\)", re.sub(r"\\\n#?\s*", "", text)):
            assert re.search(r"--working-dir[ =]\.", options), f"{path}: {options}"


def test_versions_are_those_of_the_project() -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{locked_python()}.0")
    tags = {tag for text in TEXTS.values() for tag in re.findall(r"collapse-ray:(\d[\w.]*)", text)}
    assert tags == {PROJECT["version"]}
    images = {image for text in TEXTS.values() for image in re.findall(r"(\S+)/collapse-ray:", text)}
    assert images == {"YOUR_REGISTRY", "registry.example.org/team"}


def test_what_the_user_must_set_is_marked() -> None:
    unmarked = [
        f"{path.name}: {line.strip()}"
        for path in shipped()
        if path.suffix == ".yaml"
        for line in TEXTS[path].splitlines()
        if "YOUR_" in line and not line.lstrip().startswith("#") and "# SET" not in line
    ]
    assert unmarked == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_and_no_registry(path: Path) -> None:
    assert [host for host in REGISTRIES if host in TEXTS[path]] == []
    assert [pattern for pattern in SECRETS if re.search(pattern, TEXTS[path])] == []


@pytest.mark.parametrize("path", [AWS, *SCRIPTS, DOCKERFILE], ids=lambda path: path.name)
def test_nothing_runs_ray_stop(path: Path) -> None:
    """It ends every Ray of the user on the machine."""
    code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if "ray stop" in line] == []


def test_constraints_name_all_that_is_installed() -> None:
    """Without a pin, two nodes could get two versions. What torch pins itself (CUDA's libraries) follows torch."""
    pinned = {canonicalize_name(name) for name in PINS}
    seen: set[str] = set()
    waiting = [Requirement(text) for text in [*PROJECT["dependencies"], "boto3"]]
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen or "==" in str(requirement.specifier):
            continue
        seen.add(str(requirement))
        assert canonicalize_name(requirement.name) in pinned, requirement
        try:
            inner = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        extras = requirement.extras or {""}
        for text in inner:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                waiting.append(needed)


def test_ray_is_the_version_of_the_constraints() -> None:
    assert ray.__version__ == PINS["ray"]


def test_on_premise_and_aws_install_alike() -> None:
    aws, on_premise = load(AWS), load(CLUSTER / "on_premise.yaml")
    assert aws["file_mounts"] == on_premise["file_mounts"]
    install = "~/collapse-ray/cluster/install.sh"
    assert install in aws["setup_commands"]
    assert install in on_premise["setup_commands"]
