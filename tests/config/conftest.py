"""Where a spec is written, and a small package of plugins as a user would add one: a file per kind."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FILES = {
    "planted/__init__.py": "",
    "planted/roots.py": """
from typing import ClassVar
from collapse_ray.config.plugin import Plugin

class Family(Plugin):
    folder: ClassVar[str] = "planted.families"

class Metric(Plugin):
    folder: ClassVar[str] = "planted.metrics"
""",
    "planted/families/__init__.py": "",
    "planted/families/vae.py": '''
from typing import ClassVar
from planted.roots import Family

class Spec(Family):
    located: ClassVar[frozenset[str]] = frozenset({"weights"})
    latent_size: int
    """Numbers in one
    latent vector."""
    lr: float = 1.0
    hidden: tuple[int, ...] = (4,)
    weights: str | None = None
''',
    "planted/families/gmm.py": """
from planted.roots import Family

class Spec(Family):
    num_components: int
""",
    "planted/families/mixture.py": """
from planted.roots import Family

class Spec(Family):
    parts: tuple[Family, ...]
    prior: Family | None = None
""",
    "planted/families/needs_absent_library.py": "import a_library_that_is_not_installed",
    "planted/families/broken.py": "raise ValueError('table has no row 3')",
    "planted/metrics/__init__.py": "",
    "planted/metrics/real_test_loss.py": """
from planted.roots import Metric

class Spec(Metric):
    pass
""",
    "planted/metrics/precision_recall.py": """
from planted.roots import Metric

class Spec(Metric):
    k: int = 3
    tail_mass: float = 0.1
""",
    "planted/experiment.py": """
from pathlib import Path
from typing import Literal
from pydantic import Field, model_validator
from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.spec import Spec
from planted.roots import Family, Metric

class Evaluate(Spec):
    metrics: tuple[Metric, ...] = ()
    num_samples: int = Field(default=100, gt=0)

class Train(Spec):
    epochs: int
    precision: Literal["fp32", "bf16"] = "fp32"
    schedule: Literal["constant"] | float = "constant"
    deepspeed: Path | None = None

    @model_validator(mode="after")
    def _finite(self) -> "Train":
        if self.epochs == 13:
            raise InvalidInput("epochs=13 is out of luck; give another number")
        return self

class Experiment(Spec):
    family: Family
    second: Family | None = None
    evaluate: Evaluate = Evaluate()
    train: Train | None = None
    seeds: tuple[int, ...] = (0,)
""",
}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return tmp_path / "spec.yaml"


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module that holds `Experiment`, and through it the roots `Family` and `Metric`."""
    folder: Path = tmp_path_factory.mktemp("plugins")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("planted.experiment")
    sys.path.remove(str(folder))
    for module in [name for name in sys.modules if name.split(".")[0] == "planted"]:
        del sys.modules[module]
