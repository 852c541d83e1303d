"""Python, Ray, collapse-ray's own code and every package that it needs: the same everywhere."""

import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Node, Site

ABSENT = "absent"
SHOWN = ("Python", "ray", "torch", "deepspeed")
PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Facts:
    """Version by name, of Python, packages and our code."""

    driver: dict[str, str]
    nodes: dict[str, dict[str, str]]


class Examination(Check[Facts]):
    """Every node against the driver."""

    def examine(self, site: Site) -> Facts:
        names = ["collapse-ray", *requirements()]
        return Facts(installed(names), site.each(probe, names))

    def judge(self, facts: Facts) -> Iterator[Finding]:
        for node, versions in facts.nodes.items():
            others = [
                f"{name} {versions[name]} (the driver has {expected})"
                for name, expected in facts.driver.items()
                if _public(versions[name]) != _public(expected)
            ]
            if others:
                fix = (
                    "install the same there, from constraints.txt: cluster/install.sh, or the same image for all nodes"
                )
                yield Finding(node, Status.fault, "; ".join(others), fix)
            else:
                shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)
                yield Finding(node, Status.ok, f"{shown} and {len(versions)} versions in all are the driver's")


def probe(_: Node, names: Sequence[str]) -> dict[str, str]:
    """The versions on this node."""
    return installed(names)


def requirements() -> list[str]:
    """Names of the packages without which collapse-ray does not run."""
    asked = [line for line in requires("collapse-ray") or [] if "extra ==" not in line]
    return sorted({re.split(r"[\[<>=~!; (]", line, maxsplit=1)[0] for line in asked})


def installed(names: Sequence[str]) -> dict[str, str]:
    """Version by name, as this process would import them."""
    packages = {name: _version(name) for name in names}
    return {"Python": platform.python_version(), **packages, "collapse-ray's code": code_digest(PACKAGE)}


def code_digest(package: Path) -> str:
    """The beginning of a digest of all source files: versions of a checkout have no other name."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()[:8]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ABSENT


def _public(name: str) -> str:
    """Without its local part: GPU nodes have torch 2.13.0+cu130 where CPU nodes have 2.13.0+cpu, and may."""
    return name.partition("+")[0]
