"""The architecture contracts hold, and each of them notices a planted breach."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Breach(NamedTuple):
    """A line that no module of this name may hold, and the contract that says so."""

    contract: str
    module: str
    line: str


LAYERS = "Imports go down the layers only"
LIGHT = "The lowest layer is free of Ray and torch"
RAY = "Ray is imported at its seams only"
DEEPSPEED = "DeepSpeed is imported by the training engine only"

BREACHES = {
    "upwards": Breach(LAYERS, "data/planted.py", "import collapse_ray.lineage"),
    "sideways": Breach(LAYERS, "evaluate/planted.py", "import collapse_ray.train"),
    "around-the-top": Breach(LAYERS, "data/planted.py", "import collapse_ray"),
    "unlisted-layer": Breach(LAYERS, "planted/__init__.py", ""),
    "torch-below": Breach(LIGHT, "artifact/planted.py", "from torch import Tensor"),
    "torch-below-lazily": Breach(LIGHT, "config/planted.py", "def late():\n    import transformers"),
    "torch-in-a-meter": Breach(LIGHT, "energy/planted.py", "import torch"),
    "ray-in-a-stage": Breach(RAY, "generate/planted.py", "from ray.util import ActorPool"),
    "ray-beside-its-seam": Breach(RAY, "train/planted.py", "import ray.train"),
    "deepspeed-in-a-family": Breach(DEEPSPEED, "model/families/planted.py", "import deepspeed"),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Checks the package that lies in `root`, not the installed one: the command puts its folder first on the path."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=root,
        env={"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_contracts_hold() -> None:
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.slow
@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES.keys())
def test_breach_is_caught(breach: Breach, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "collapse_ray", tmp_path / "collapse_ray", ignore=shutil.ignore_patterns("__pycache__"))
    planted = tmp_path / "collapse_ray" / breach.module
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(breach.line + "\n")

    linted = lint_imports(tmp_path)

    assert linted.returncode == 1
    assert re.findall(r"^(.+) BROKEN$", linted.stdout, flags=re.MULTILINE) == [breach.contract], linted.stdout


@pytest.mark.slow
def test_lowest_layer_loads_neither_ray_nor_torch() -> None:
    """The contract sees our own imports; this sees those of our dependencies, too."""
    script = """
import importlib, pkgutil, sys
for layer in ("config", "artifact", "energy"):
    package = importlib.import_module(f"collapse_ray.{layer}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted({"ray", "torch", "transformers", "deepspeed"} & sys.modules.keys()))
"""
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
