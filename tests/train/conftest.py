"""The stage of these tests runs on CPUs, in this process or on two gloo ranks that stay for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before anything imports DeepSpeed

import pytest
import torch
from rank_pool import RankPool
from stage_runs import Digits

from collapse_ray.artifact.store import Store
from collapse_ray.data.reader import Pool
from collapse_ray.energy.marks import NoMarks
from collapse_ray.lineage.prepare import open_real, publish_real
from collapse_ray.lineage.spec import LineageSpec


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only lose time to a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    store = Store(str(tmp_path_factory.mktemp("digits")))
    lineage = LineageSpec.model_validate(
        {"source": "digits", "family": "vae", "regime": "replace", "depth": 1, "train": {"steps": 1}}
    )
    real = publish_real(lineage, open_real(lineage), store, NoMarks()).train
    plan = lineage.regime.plan(seed=0, generation=1, num_real=real.num_samples)
    return Digits(Pool(plan, {0: real.fingerprint}, {0: real.layout}, real.payload), store)


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RankPool]:
    with RankPool(2, tmp_path_factory.mktemp("ranks")) as pool:
        yield pool


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))
