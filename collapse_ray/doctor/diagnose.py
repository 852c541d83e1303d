"""Runs all checks: whatever lies in the folder `checks`."""

import importlib
import pkgutil
from typing import Any

from collapse_ray.doctor.check import Check
from collapse_ray.doctor.finding import Finding, Status
from collapse_ray.doctor.site import Failure, Site

FOLDER = "collapse_ray.doctor.checks"
REACHED = "reached"
"""The check before all others: nothing else is known of a node that does not answer."""


def all_checks() -> dict[str, Check[Any]]:
    """Every file of the folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(FOLDER).__path__))
    return {name: importlib.import_module(f"{FOLDER}.{name}").Examination() for name in names}


def diagnose(site: Site) -> dict[str, list[Finding]]:
    """All findings, by check."""
    reached = [Finding(node.name, Status.ok, "it answers") for node in site.nodes]
    lost = [_lost(failure) for failure in site.unreachable]
    return {REACHED: [*reached, *lost], **{name: _findings(check, site) for name, check in all_checks().items()}}


def _findings(check: Check[Any], site: Site) -> list[Finding]:
    findings = list(check.judge(check.examine(site)))
    return findings + [_unexamined(failure) for failure in site.take_failures()]


def _lost(failure: Failure) -> Finding:
    fix = "install collapse-ray there (cluster/install.sh); if it is, look into the node's Ray logs"
    return Finding(failure.node, Status.fault, f"it could not be examined: {failure.error}", fix)


def _unexamined(failure: Failure) -> Finding:
    fix = "read the error; is the same collapse-ray installed there (see the check `versions`)?"
    return Finding(failure.node, Status.fault, f"the check failed: {failure.error}", fix)
