"""A new family, source, metric or regime is one new file: planted into a copy of the package, each is found, listed,
tested by the batteries and run. A defective one fails its battery."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BATTERIES = (
    "tests/model/test_family_battery.py",
    "tests/data/test_source_battery.py",
    "tests/data/test_regime_battery.py",
    "tests/evaluate/test_metric_battery.py",
)

BOX = '''
"""Uniform distribution on the smallest box that holds the data."""

from typing import ClassVar

import numpy as np
import torch

from collapse_ray.config.errors import InvalidInput
from collapse_ray.model.family import ClosedForm, FamilySpec


class Spec(FamilySpec):
    """Uniform on a box, fitted by the smallest and the largest value of each dimension."""

    closed_form: ClassVar[bool] = True

    margin: float = 0.0
    """Added to the box on every side."""

    def check(self, payload, sampling):
        if payload.kind != "vector":
            raise InvalidInput(f"the family '{self.kind}' cannot model '{payload.kind}'; choose a source of vectors")
        self.refuse_token_filters(sampling)

    def build(self, payload):
        return Box(payload.shape, self.margin)


class Box(ClosedForm):
    """Standard box until it is fitted."""

    def __init__(self, shape, margin):
        super().__init__()
        self.margin = margin
        self.seen = []
        self.register_buffer("low", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("high", torch.ones(shape, dtype=torch.float64))

    def update(self, payload, weight):
        self.seen += [payload.min(0), payload.max(0)]

    def solve(self):
        self.low.copy_(torch.from_numpy(np.min(self.seen, 0) - self.margin))
        self.high.copy_(torch.from_numpy(np.max(self.seen, 0) + self.margin))

    def forward(self, payload):
        inside = ((payload >= self.low) & (payload <= self.high)).flatten(1).all(1)
        volume = (self.high - self.low).log().sum()
        return torch.where(inside, volume, torch.inf)

    def draw_noise(self, generators):
        return torch.from_numpy(np.stack([generator.random(self.low.shape) for generator in generators]))

    def sample(self, noise, sampling):
        middle, width = (self.low + self.high) / 2, self.high - self.low
        return (middle + sampling.temperature * (noise - 0.5) * width).numpy()
'''

SPIRAL = '''
"""Points on a spiral."""

import numpy as np

from collapse_ray.config.noise import generator
from collapse_ray.config.payload import Payload
from collapse_ray.data.source import ArrayRows, RealData, SourceSpec


class Spec(SourceSpec):
    """Two coordinates of a noisy spiral."""

    num_samples: int = 60
    """Points."""

    def open(self, seed):
        draw = generator("spiral", seed)
        angle = 6 * draw.random(self.num_samples)
        points = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        points += 0.1 * draw.standard_normal(points.shape)
        return RealData(Payload("vector", (2,)), ArrayRows(points), content={"seed": seed})
'''

MEAN_SHIFT = '''
"""How far the mean has moved."""

from typing import ClassVar

import numpy as np

from collapse_ray.evaluate.metric import MetricSpec, Summary


class Spec(MetricSpec):
    """Euclidean distance between the means of the samples and of the real rows."""

    names: ClassVar[tuple[str, ...]] = ("mean_shift",)

    def empty(self, payload):
        return None if payload.kind == "tokens" else MeanShift(payload.size)


class MeanShift(Summary):
    """Sums and counts of both sets: real, synthetic."""

    def __init__(self, size):
        self.sums = np.zeros((2, size))
        self.counts = np.zeros(2)

    def _add(self, which, payload):
        self.sums[which] += payload.reshape(-1, self.sums.shape[1]).sum(0)
        self.counts[which] += len(payload)

    def update_real(self, sample_ids, payload, loss):
        self._add(0, payload)

    def update_synthetic(self, sample_ids, payload):
        self._add(1, payload)

    def merge(self, other):
        self.sums += other.sums
        self.counts += other.counts

    def compute(self):
        if not self.counts.all():
            return {"mean_shift": None}
        real, synthetic = self.sums / self.counts[:, None]
        return {"mean_shift": float(np.linalg.norm(synthetic - real))}
'''

LAST_TWO = '''
"""Samples of the two generations before."""

from collapse_ray.data.parts import SizedRegime, fixed_real, pool_of, samples_of


class Spec(SizedRegime):
    """Real rows in generation 1, then samples of generations t-1 and t-2 in equal parts."""

    def plan(self, *, seed, generation, num_real):
        size = self.size(num_real)
        if generation == 1:
            return pool_of(fixed_real(seed, num_real, size))
        if generation == 2:
            return pool_of(samples_of(1, size))
        return pool_of(samples_of(generation - 2, size // 2), samples_of(generation - 1, size - size // 2))
'''

PLUGINS = {
    "model/families/box.py": BOX,
    "data/sources/spiral.py": SPIRAL,
    "evaluate/metrics/mean_shift.py": MEAN_SHIFT,
    "data/regimes/last_two.py": LAST_TWO,
}

DEFECTIVE = {
    # Every sample is the middle of the box.
    "model/families/deaf.py": BOX.replace("(noise - 0.5) * width", "0 * noise"),
    # A sample moves with its neighbours.
    "model/families/crowd.py": BOX.replace("(noise - 0.5)", "(noise - noise.mean(0))"),
    # The seed is no part of what the data is.
    "data/sources/amnesiac.py": SPIRAL.replace(', content={"seed": seed}', ""),
    # The plan is another one each time.
    "data/regimes/fickle.py": LAST_TWO.replace(
        "fixed_real(seed, num_real, size)", "fixed_real(hash(object()), num_real, size - 1)"
    ),
    # The rank that is merged last wins.
    "evaluate/metrics/last_rank.py": MEAN_SHIFT.replace("self.sums += other", "self.sums = other").replace(
        "self.counts += other", "self.counts = other"
    ),
}

LINEAGE = """
source: spiral
family: {kind: box, margin: 0.1}
regime: last_two
depth: 4
evaluate: {num_samples: 64, metrics: [mean_shift, real_test_loss]}
run: {store: store}
"""

SCRIPT = dedent(
    """
    import sys
    from pathlib import Path

    from typer.testing import CliRunner

    from collapse_ray.artifact.store import Store
    from collapse_ray.cli.main import app
    from collapse_ray.lineage.launch import check_all, run_plain
    from collapse_ray.lineage.spec import load_experiment

    for what in ("families", "sources", "metrics", "regimes"):
        print(CliRunner().invoke(app, ["list", what]).stdout)
    experiment = load_experiment(Path("planted.yaml"), [])
    (progress,) = run_plain(check_all([experiment], Store(experiment.run.store)), experiment.run)
    print(progress.verdict, [model.realised["realised_real_fraction"] for model in progress.models])
    print(all(record.metrics["mean_shift"] > 0 for record in progress.evaluations))
    """
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the plugins, and of the batteries that test them."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "collapse_ray", folder / "collapse_ray", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py", *BATTERIES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for path, content in {**PLUGINS, **DEFECTIVE}.items():
        (folder / "collapse_ray" / path).write_text(content)
    (folder / "planted.yaml").write_text(LINEAGE)
    return folder


def python(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def outcomes(copy: Path) -> dict[str, set[str]]:
    """Kind -> outcomes of its tests in the batteries."""
    kinds = [Path(path).stem for path in {**PLUGINS, **DEFECTIVE}]
    options = ["-q", "-rA", "--tb=no", "-p", "no:cacheprovider"]
    text = python(copy, "-m", "pytest", *options, "-k", " or ".join(kinds), *BATTERIES)
    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+\[(\w+?)[\]-]", text, flags=re.MULTILINE)
    return {kind: {outcome for outcome, tested in found if tested == kind} for kind in kinds}


@pytest.mark.parametrize("kind", [Path(path).stem for path in PLUGINS])
def test_the_batteries_pick_up_a_new_file(kind: str, outcomes: dict[str, set[str]]) -> None:
    assert outcomes[kind] == {"PASSED"}


@pytest.mark.parametrize("kind", [Path(path).stem for path in DEFECTIVE])
def test_a_defective_file_fails_its_battery(kind: str, outcomes: dict[str, set[str]]) -> None:
    assert outcomes[kind] == {"PASSED", "FAILED"}


def test_a_lineage_of_new_kinds_is_listed_and_run(copy: Path) -> None:
    lines = python(copy, "-c", SCRIPT).splitlines()
    assert lines[-2:] == ["complete [1.0, 0.0, 0.0, 0.0]", "True"]
    for words in (
        "box Uniform on a box",
        "margin number 0.0 Added to the box",
        "spiral Two coordinates",
        "mean_shift Euclidean distance",
        "last_two Real rows in generation 1, then",
    ):
        assert any(" ".join(line.split()).startswith(words) for line in lines), words
