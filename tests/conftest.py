"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

# DeepSpeed reads it when it is imported, and warns without it. On a GPU: `DS_ACCELERATOR=cuda pytest -m gpu`.
os.environ.setdefault("DS_ACCELERATOR", "cpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (MNIST, WikiText-2, Adult); tests that need it skip where it is absent."""
    folder = Path(os.environ.get("COLLAPSE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {folder}; set COLLAPSE_SHARED_DATA to the folder that holds them")
    return folder
