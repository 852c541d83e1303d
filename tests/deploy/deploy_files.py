"""The files that bring collapse-ray onto a cluster, and the versions that they must agree with."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
AWS = ROOT / "ray_cluster.yaml"
ON_PREMISE = CLUSTER / "on_premise.yaml"
SLURM = CLUSTER / "slurm.sbatch"
DOCKERFILE = CLUSTER / "Dockerfile"
KUBERAY = CLUSTER / "kuberay"
KUEUE_PATCH = KUBERAY / "kueue_patch.yaml"
MANIFESTS = sorted(set(KUBERAY.glob("*.yaml")) - {KUEUE_PATCH})
SCRIPTS = [*sorted(CLUSTER.glob("*.sh")), SLURM]
PAGES = [ROOT / "README.md", CLUSTER / "README.md", ROOT / "docs" / "clusters.md"]

CONSTRAINTS = (ROOT / "constraints.txt").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", CONSTRAINTS, flags=re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def locked_python() -> str:
    """Major and minor version of the Python that the constraints were made with."""
    (version,) = re.findall(r"^# .*Made with Python (3\.\d+)", CONSTRAINTS, flags=re.MULTILINE)
    return version


def instructions(text: str) -> list[tuple[str, str]]:
    """Keyword and argument of each instruction of a Dockerfile, without comments and continuations."""
    code = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def shipped() -> list[Path]:
    """Every file under cluster/, and ray_cluster.yaml."""
    return [AWS, *sorted(path for path in CLUSTER.rglob("*") if path.is_file())]
