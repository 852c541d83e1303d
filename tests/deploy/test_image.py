"""cluster/Dockerfile, as far as a machine without a Docker daemon can check it."""

import fnmatch
import re
import shutil
import subprocess

import pytest
from deploy_files import DOCKERFILE, KUBERAY, ROOT, instructions, load, locked_python

TEXT = DOCKERFILE.read_text()
IGNORE = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text()


def argument(text: str, keyword: str) -> str:
    """Of the last such instruction."""
    return [value for name, value in instructions(text) if name == keyword][-1]


def in_context(path: str, ignore: str) -> bool:
    """Whether the build sees a path at the top of the repository; the last pattern that matches it decides."""
    seen = True
    for pattern in [line for line in ignore.splitlines() if line and not line.startswith("#")]:
        if fnmatch.fnmatch(path, pattern.removeprefix("!")):
            seen = pattern.startswith("!")
    return seen


def problems(text: str, ignore: str) -> list[str]:
    found = []
    base = argument(text, "FROM")
    if not re.fullmatch(rf"python:{re.escape(locked_python())}(\.\d+)?-slim-\w+", base):
        found.append(f"{base} is not a slim Python {locked_python()}, which constraints.txt was made with")
    for name, value in instructions(text):
        if name == "COPY":
            *sources, _ = value.split()
            found += [f"{source} is not there" for source in sources if not (ROOT / source).exists()]
            found += [f"{source} is ignored" for source in sources if not in_context(source, ignore)]
        if (
            name == "RUN"
            and "pip install" in value
            and not ("--constraint constraints.txt" in value or "--no-deps" in value)
        ):
            found.append(f"{value} installs other versions than constraints.txt")
    if not re.fullmatch(r"[1-9]\d*", argument(text, "USER")):
        found.append("the user must be a number other than 0, for Kubernetes to know that it is not root")
    return found


def test_it_has_no_problems() -> None:
    assert problems(TEXT, IGNORE) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("FROM python:3.11", "FROM python:3.13", "constraints.txt was made with"),
        ("COPY collapse_ray", "COPY colapse_ray", "colapse_ray is not there"),
        ("COPY jobs", "COPY tests", "tests is ignored"),
        ("--constraint constraints.txt ", "", "installs other versions"),
        ("USER 1000", "USER root", "not root"),
    ],
)
def test_a_planted_error_is_found(old: str, new: str, complaint: str) -> None:
    assert old in TEXT
    found = problems(TEXT.replace(old, new), IGNORE)
    assert any(complaint in line for line in found), found


def test_the_context_holds_no_more_than_is_copied() -> None:
    copied = {source for name, value in instructions(TEXT) if name == "COPY" for source in value.split()[:-1]}
    allowed = {line.removeprefix("!") for line in IGNORE.splitlines() if line.startswith("!")}
    assert allowed == copied
    assert not in_context(".git", IGNORE)
    assert not in_context(".venv", IGNORE)


def test_kubernetes_runs_what_the_image_has() -> None:
    job = load(KUBERAY / "ray_job.yaml")["spec"]
    assert job["runtimeEnvYAML"].strip() == f"working_dir: {argument(TEXT, 'WORKDIR')}"
    user = str(job["submitterPodTemplate"]["spec"]["securityContext"]["runAsUser"])
    assert user == argument(TEXT, "USER")
    assert f"--uid {user}" in TEXT
    assert "wget" in TEXT  # KubeRay's probes


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
