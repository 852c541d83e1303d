"""A lineage that has finished, and the identities of one that has not run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from finished_lineage import LINEAGE, STAGES
from identified_lineages import NUM_REAL, Identities, Listed, samples
from plain_lineages import run

from collapse_ray.artifact.fingerprint import fingerprint
from collapse_ray.artifact.store import Store
from collapse_ray.data.reader import plain_stream
from collapse_ray.energy.marks import NoMarks
from collapse_ray.lineage import identity, stages
from collapse_ray.lineage.loop import run_lineage
from collapse_ray.lineage.prepare import Prepared
from collapse_ray.lineage.progress import ignore
from collapse_ray.lineage.spec import LineageSpec
from collapse_ray.train.execution import RunConfig
from collapse_ray.train.group import SoloGroup


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run(folder, LINEAGE).computed == STAGES
    return folder


@pytest.fixture
def store(tmp_path: Path, finished: Path) -> Path:
    """A store of its own with the finished lineage."""
    return Path(shutil.copytree(finished, tmp_path / "store", copy_function=shutil.copy2))


@pytest.fixture
def identities_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identities:
    """The identities of all artifacts that a lineage would publish, real data first, without running it."""

    def collect(lineage: LineageSpec, run: RunConfig | None = None) -> list[dict[str, Any]]:
        listed = Listed()
        monkeypatch.setattr(stages, "Publisher", lambda *_: listed)
        listed.identities = [identity.ingest(lineage, {}, part=part) for part in ("train", "holdout")]
        train, holdout = map(fingerprint, listed.identities)
        prepared = Prepared(samples(train, NUM_REAL), samples(holdout, 10))
        published = stages.PublishedStages(
            name="test",
            lineage=lineage,
            prepared=prepared,
            run=run or RunConfig(),
            store=Store(str(tmp_path)),
            group=SoloGroup(),
            open_stream=plain_stream,
            listener=ignore,
            marker=NoMarks(),
        )
        run_lineage(lineage, prepared, published)
        return listed.identities

    return collect
